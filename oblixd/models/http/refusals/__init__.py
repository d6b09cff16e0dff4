"""What a server says where it refuses a request, and what kind of refusal that is.

Servers agree on little: the same fault is a status here, a code there, and a sentence elsewhere.
`reading` takes the words out of whatever shape they come in, `phrases` has everything that is known
about the sentences of real servers, and `judging` decides. No part knows a provider or does I/O.
"""

from oblixd.models.http.refusals.judging import PAY, Verdict, judge, wants_responses
from oblixd.models.http.refusals.reading import Refusal

__all__ = ["PAY", "Refusal", "Verdict", "judge", "wants_responses"]
