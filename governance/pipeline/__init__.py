"""The governed pass: open a run, classify, consent, protect, validate, release.

Each step is one module and one function. A step is handed a :class:`~governance.pipeline.step.RunContext`
and leaves its facts in the run's staging folder, so that the same code runs in one process or task by task.
"""
