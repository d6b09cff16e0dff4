"""A notebook, in the percent format that Jupyter (with jupytext), VS Code and PyCharm open."""

# %% One client for the whole notebook. Its calls work inside the notebook's running event loop.
import oblix

client = oblix.Client()
session = client.sessions.get_or_create("notebook", title="My notebook")

# %% Ask. The session remembers what was said in earlier cells.
answer = client.execute("Name three lakes in Switzerland.", session=session)
print(answer)

# %% Look at where the answer came from, and how long it took.
print(answer.decision.reason)
print(f"{answer.timings.total:.1f} s on {answer.model}")

# %% What was used in the last days.
for row in client.usage.report("day").rows:
    print(row.key, row.executions, row.output_tokens)
