"""The demonstration: a real small model, a scripted stand-in beside it, real SDKs, and the gate between them.

What lives here: everything `sluicegate demo` needs and nothing that the product does. No other package imports this
one; it needs the `[demo]` extra.
"""
