"""Blocks: configuration and credentials that are saved under a name and loaded where needed.

``headgate.blocks.core`` has their base class, ``.system``, ``.notifications`` and ``.webhook`` have
those that come with Headgate, ``.abstract`` the interfaces; file systems are in
``headgate.filesystems``.
"""
