"""Inputs of flow runs in memory."""

from __future__ import annotations

import dataclasses

from headgate.core import errors
from headgate.core.run_inputs import RunInput
from headgate_server.storage.kinds import run_inputs as kind
from headgate_server.storage.kinds.run_inputs import RunInputFilter
from headgate_server.storage.memory import paging
from headgate_server.storage.memory.tables import Tables
from headgate_server.storage.records import Page, PageRequest


class MemoryRunInputs:
    """See :class:`headgate_server.storage.kinds.run_inputs.RunInputs`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def get(self, flow_run_id: str, key: str) -> RunInput | None:
        return self._tables.run_inputs.get((flow_run_id, key))

    def insert(self, run_input: RunInput) -> RunInput:
        place = (run_input.flow_run_id, run_input.key)
        if place in self._tables.run_inputs:
            raise errors.AlreadyExists("run input", run_input.key)
        self._tables.deleted_run_inputs.remove(place)
        stored = dataclasses.replace(run_input, place=self._tables.take_number("run_inputs"))
        self._tables.run_inputs[place] = stored
        self._tables.topics.add(kind.topic(run_input.flow_run_id))
        return stored

    def delete(self, flow_run_id: str, key: str) -> bool:
        found = self._tables.run_inputs.get((flow_run_id, key))
        if found is None:
            return False
        self._tables.run_inputs.remove((flow_run_id, key))
        deleted = self._tables.deleted_run_inputs
        deleted[flow_run_id, key] = dataclasses.replace(found, value="")
        of_run = [one for one in deleted if one.flow_run_id == flow_run_id]
        of_run.sort(key=lambda one: one.place, reverse=True)
        for one in of_run[kind.DELETED_MAX :]:
            deleted.remove((flow_run_id, one.key))
        return True

    def get_deleted(self, flow_run_id: str, key: str) -> RunInput | None:
        return self._tables.deleted_run_inputs.get((flow_run_id, key))

    def list(self, where: RunInputFilter, page: PageRequest) -> Page[RunInput]:
        fitting = [
            found
            for found in self._tables.run_inputs
            if found.flow_run_id == where.flow_run_id
            and found.key.startswith(where.key_prefix)
            and found.key not in where.exclude_keys
            and found.place > where.after_place
        ]
        return paging.cut_page(
            fitting, lambda found: (found.place,), page, weight=lambda found: len(found.value)
        )
