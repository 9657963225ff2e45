"""Training and judging the injection model: labelled texts in, a model file and a report out.

What lives here: what needs NumPy and scikit-learn (``pip install 'sluicegate[train]'``). What must not: anything that
the gateway needs at run time.
"""
