"""Actions come true: each type of planning/actions.py is one method here, over Objects and Servers, for all of
Kubernetes, local mode and the tests' simulated cluster.

Chance (a new password) is injected. Passwords are read where they are needed, so that no plan, log or event holds one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cachefleet_operator.api.objects import Key, Object, key_of
from cachefleet_operator.api.v1alpha1 import Cache
from cachefleet_operator.execution import admin, family, passwords
from cachefleet_operator.execution.errors import ExecutionError, Refused
from cachefleet_operator.execution.ownership import must_be_ours
from cachefleet_operator.execution.ports import Command, Endpoint, Objects, Reply, Servers
from cachefleet_operator.execution.wire import error
from cachefleet_operator.execution.witness import Witnesses
from cachefleet_operator.planning import actions as act
from cachefleet_operator.planning import auth
from cachefleet_operator.planning.objects import DRIFT_SHOWN_MAX, applied_hash
from cachefleet_operator.planning.refusals import OBJECT, STORAGE
from cachefleet_operator.resources.diff import drift
from cachefleet_operator.resources.secrets import binding_data

CLAIM = "PersistentVolumeClaim"
LEVEL_EVERY_S = 0.02  # how often a paused primary is asked whether the other has all


class Interpreter:
    """`told` hears of each server that was told something, or may have been."""

    def __init__(
        self,
        objects: Objects,
        servers: Servers,
        chance: Callable[[], bytes] = passwords.generate,
        told: Callable[[Endpoint], None] = lambda endpoint: None,
        witnesses: Witnesses | None = None,
    ) -> None:
        self._witnesses = witnesses or Witnesses()
        self._objects, self._servers, self._chance, self._told = objects, servers, chance, told
        self._do: dict[type[act.Action], Callable[[Cache, Any], Awaitable[object]]] = {
            act.Apply: self._apply,
            act.Delete: self._delete,
            act.GenerateSecret: self._generate_secret,
            act.CopySecret: self._copy_secret,
            act.WriteBinding: self._write_binding,
            act.LabelPod: self._label,
            act.LabelObject: self._label,
            act.RestartPod: self._restart_pod,
            act.ResizeClaim: self._resize_claim,
            act.OwnClaim: self._own_claim,
            act.ConfigSet: self._config_set,
            act.SetPassword: self._set_password,
            act.TellRecord: self._tell_record,
            act.FenceServer: self._fence_server,
            act.PrepareServer: self._prepare_server,
            act.PauseServer: self._pause_server,
            act.ResumeServer: self._resume_server,
        }

    async def execute(self, cache: Cache, action: act.Action) -> None:
        """Does one action. Raises Refused, ExecutionError."""
        await self._do[type(action)](cache, action)

    def left(self, cache: Cache, name: str) -> None:
        """Nobody waits for this pod's server any more: what it said before it was told something counts no more."""
        pod = self._objects.known(cache.key).get(Key("Pod", name))
        if (address := self._servers.address(pod) if pod is not None else None) is not None:
            self._told(Endpoint(*address, ()))

    # -- objects

    async def _apply(self, cache: Cache, action: act.Apply) -> None:
        if action.create:
            await self._own(cache, action.object)
        wish = applied_hash(action.object)
        with _refusals(action.key, OBJECT, wish):
            live = await self._objects.apply(cache.metadata.namespace, action.object)
        # A field behind a feature gate that is off, or a webhook with a will of its own: not to be written for ever.
        if lost := drift(action.object, live):
            words = f"the API server did not keep what was written: {'; '.join(lost[:DRIFT_SHOWN_MAX])}"
            raise Refused(words, target=str(action.key), subject=OBJECT, wish=wish)

    async def _delete(self, cache: Cache, action: act.Delete) -> None:
        await self._objects.delete(cache.metadata.namespace, action.key, action.uid, orphan=action.orphan)

    async def _restart_pod(self, cache: Cache, action: act.RestartPod) -> None:
        await self._objects.delete(cache.metadata.namespace, Key("Pod", action.pod), action.uid)

    async def _label(self, cache: Cache, action: act.LabelPod | act.LabelObject) -> None:
        patch = {"metadata": {"uid": action.uid, "labels": dict(action.labels)}}
        await self._objects.patch(cache.metadata.namespace, action.key, patch)

    async def _resize_claim(self, cache: Cache, action: act.ResizeClaim) -> None:
        key = Key(CLAIM, action.claim)
        patch = {"spec": {"resources": {"requests": {"storage": action.size}}}}
        with _refusals(key, STORAGE, action.size):
            await self._objects.patch(cache.metadata.namespace, key, patch)

    async def _own_claim(self, cache: Cache, action: act.OwnClaim) -> None:
        patch = {"metadata": {"resourceVersion": action.version, "ownerReferences": list(action.owners)}}
        await self._objects.patch(cache.metadata.namespace, Key(CLAIM, action.claim), patch)

    async def _own(self, cache: Cache, wanted: Object) -> Object | None:
        """The live object that `wanted` would replace."""
        live = await self._objects.get(cache.metadata.namespace, key_of(wanted))
        if live is not None:
            must_be_ours(live, cache)
        return live

    # -- passwords

    async def _generate_secret(self, cache: Cache, action: act.GenerateSecret) -> None:
        namespace, live = cache.metadata.namespace, await self._own(cache, action.object)
        if not auth.is_blank(passwords.value(live, action.field)):
            return
        secret = passwords.with_data(action.object, {action.field: self._chance()})
        with _refusals(key_of(secret), OBJECT, ""):
            if live is None:
                await self._objects.create(namespace, secret)
            else:  # Somebody emptied it. It must not have been filled meanwhile.
                seen = {"resourceVersion": live["metadata"]["resourceVersion"]}
                await self._objects.patch(namespace, key_of(secret), {"metadata": seen, "data": secret["data"]})

    async def _copy_secret(self, cache: Cache, action: act.CopySecret) -> None:
        value = await self._wish(cache, action.source)
        old = await self._own(cache, action.object)
        secret = passwords.with_data(action.object, passwords.copied(old, action.field, value))
        with _refusals(key_of(secret), OBJECT, ""):
            await self._objects.apply(cache.metadata.namespace, secret)

    async def _write_binding(self, cache: Cache, action: act.WriteBinding) -> None:
        password = auth.as_password(await self._wish(cache, action.source))
        await self._own(cache, action.object)
        secret = passwords.with_data(action.object, binding_data(action.host, action.port, password))
        with _refusals(key_of(secret), OBJECT, ""):
            await self._objects.apply(cache.metadata.namespace, secret)

    async def _wish(self, cache: Cache, source: tuple[str, str] | None) -> bytes:
        """The password that a Secret holds; empty for no password."""
        if source is None:
            return b""
        name, key = source
        found = passwords.value(await self._secret(cache, name), key)
        if found is None:
            raise ExecutionError(f"Secret {name} has no {key}", conflict=True)
        return found

    async def _secret(self, cache: Cache, name: str) -> Object | None:
        key = Key("Secret", name)
        own = self._objects.known(cache.key).get(key)
        return own if own is not None else await self._objects.get(cache.metadata.namespace, key)

    # -- servers

    async def _config_set(self, cache: Cache, action: act.ConfigSet) -> None:
        endpoint = await self._endpoint(cache, action.pod)
        with self._telling(endpoint):
            await admin.config_set(self._servers, action.pod, endpoint, action.run_id, action.parameters)

    async def _set_password(self, cache: Cache, action: act.SetPassword) -> None:
        new = auth.as_password(await self._wish(cache, action.source))
        endpoint = await self._endpoint(cache, action.pod)
        with self._telling(endpoint):
            await admin.set_password(self._servers, action.pod, endpoint, action.run_id, new)

    # -- managed servers: what they answer is evidence, an error too

    async def _tell_record(self, cache: Cache, action: act.TellRecord) -> None:
        primary = await self._endpoint(cache, action.record.primary.pod)
        command = family.record_command(action.record, action.target, primary[:2], action.claim)
        reply = await self._say(cache, action, command)
        if (word := family.refusal(reply)) in family.FOR_GOOD:
            self._witnesses.of(cache.key).refused(action.target, action.record.epoch)
        elif word:
            raise _said_no(action, reply)
        else:
            self._witnesses.of(cache.key).told(action.target, self._witnesses.now())

    async def _fence_server(self, cache: Cache, action: act.FenceServer) -> None:
        reply = await self._say(cache, action, family.fence_command(action.target, action.epoch, action.claim))
        if family.refusal(reply):
            raise _said_no(action, reply)
        self._witnesses.of(cache.key).promised(family.promise(reply, action.epoch), self._witnesses.now())

    async def _prepare_server(self, cache: Cache, action: act.PrepareServer) -> None:
        reply = await self._say(cache, action, family.prepare_command(action.target, action.prepared))
        if reply == family.OK:
            self._witnesses.of(cache.key).agreed(action.target, action.prepared)
        elif reply != family.WAITING and family.refusal(reply) != "BUSY":  # that shows in its state
            raise _said_no(action, reply)

    async def _pause_server(self, cache: Cache, action: act.PauseServer) -> None:
        witness, began = self._witnesses.of(cache.key), self._witnesses.now()
        reply = await self._say(cache, action, family.pause_command(action.target, action.epoch, action.for_ms))
        if family.refusal(reply):
            raise _said_no(action, reply)
        end = began + action.for_ms / 1000
        witness.paused(action.target, end, action.heir)
        while self._witnesses.now() < end:
            state = family.state(await self._say(cache, action, family.STATE))
            said = state.confirmed.get(action.heir) if state is not None else None
            if state is None or (said is not None and said.at >= state.at):
                return
            await asyncio.sleep(LEVEL_EVERY_S)

    async def _resume_server(self, cache: Cache, action: act.ResumeServer) -> None:
        await self._say(cache, action, family.resume_command(action.target, action.epoch))
        self._witnesses.of(cache.key).resumed(action.target)

    async def _say(self, cache: Cache, action: act.ToManaged, command: Command) -> Reply:
        """To that process alone. Who does not answer is looked at again at once: here seconds count."""
        endpoint = await self._endpoint(cache, action.pod)
        with self._telling(endpoint):
            try:
                (reply,) = await self._servers.tell(endpoint, action.run_id, [command])
            except ExecutionError as problem:
                raise ExecutionError(str(problem), conflict=True, final=problem.final) from None
        return reply

    @contextmanager
    def _telling(self, endpoint: Endpoint) -> Iterator[None]:
        try:
            yield
        finally:
            self._told(endpoint)

    async def _endpoint(self, cache: Cache, name: str) -> Endpoint:
        known = self._objects.known(cache.key)
        pod = known.get(Key("Pod", name))
        address = self._servers.address(pod) if pod is not None else None
        if address is None:
            raise ExecutionError(f"{name} has no server now", conflict=True)
        source = auth.source(cache)
        wished = {source[0]: await self._secret(cache, source[0])} if source is not None else {}
        tried = passwords.known(cache, lambda name: wished.get(name) or known.get(Key("Secret", name)))
        return Endpoint(*address, tried)


def _said_no(action: act.ToManaged, reply: Reply) -> ExecutionError:
    """What we knew is old, or what is asked cannot be done: who looks again at once knows which, and the others of the
    Cache do not wait for it."""
    return ExecutionError(f"{action.pod}: {error(reply)}", conflict=True)


@contextmanager
def _refusals(key: Key, subject: str, wish: str) -> Iterator[None]:
    """A refusal for good becomes a Refused; every other error stays what it is."""
    try:
        yield
    except ExecutionError as error:
        if not error.for_good:
            raise
        raise Refused(str(error), target=str(key), subject=subject, wish=wish) from None
