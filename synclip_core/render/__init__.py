"""Batches through ComfyUI's API: the rows of a manifest fill a workflow, and one or more servers render them.

`workflow` and `manifest` make the rows, `journal` remembers what became of them, `client` speaks to one server,
`lane` gives rows to that server and collects them, `batch` holds the lanes together, `results` writes the table.
"""
