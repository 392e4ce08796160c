"""The source side of a lookup (protocol section 7, steps 7 to 9), and of a fetch (section 6).

    broker                               source
      | EvaluatedQuestion{Question, E, V, proof} ->| (7) question.py   signature, covenant, own rules, freshness,
      |                                            |                   E, the broker's proof
      |                                            | (8) answerer.py   replay, budgets, log, E: one durable write
      |                                            | (9) evaluate.py   Z = m*k*V, proof, sign, seal
      |<------------------------ SealedAnswer -----|
      | PushOrder ------------------------------->| push.py           the filter, over a stream of its own

Whatever fails is a Failure with a code, never an answer: the requester shows `geen antwoord`.
"""
