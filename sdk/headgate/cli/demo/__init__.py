"""``headgate demo``: a small real pipeline, through a server and a runner of its own."""
