"""The `Cache` resource, cachefleet.io/v1alpha1: what a user writes (spec) and what the operator answers (status).

The one source of the CRD: api/crd.py generates its schema from these models, descriptions and rules included, so a
field is described here and nowhere else. Field names are snake_case here and camelCase on the wire. Models are frozen:
a parsed Cache is a fact. Defaults are those the API server fills in, too.

`RULES` of a model are CEL rules that the API server enforces on that object; a rule that speaks of `oldSelf` is a
transition rule. What no schema can say (parameters of the server, overrides of the pod) is checked by api/validation.py
and answered by the condition ConfigApplied or Degraded, never ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

from cachefleet_operator.api.conditions import FLEET_TYPES, TYPES
from cachefleet_operator.api.quantity import Quantity
from cachefleet_operator.api.scalars import as_network, as_text, int_or_string

GROUP, VERSION, KIND, PLURAL = "cachefleet.io", "v1alpha1", "Cache", "caches"
API_VERSION = f"{GROUP}/{VERSION}"
INT_MAX = 2**31 - 1
CONFIG_KEYS_MAX, CONFIG_VALUE_MAX = 512, 16384  # twice the parameters that there are; characters of a value


class Rule(NamedTuple):
    """A CEL rule of an object and what the API server says when it is broken."""

    expression: str
    message: str


def _add_rules(schema: dict[str, Any], model: type[Model]) -> None:
    if model.RULES:
        schema["x-kubernetes-validations"] = [{"rule": rule, "message": message} for rule, message in model.RULES]


def _keyed(*fields: str) -> dict[str, Any]:
    """A list that is a map: server-side apply and patches know its items by these fields, which are unique."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(fields)}


class Model(BaseModel):
    """What all of them share. `null` means that a field is not there, as it does to the API server."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore", json_schema_extra=_add_rules
    )
    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_unset(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, Mapping) else value

    def wire(self) -> dict[str, Any]:
        """As the API carries it: camelCase, nothing that is unset."""
        return self.model_dump(by_alias=True, exclude_none=True, mode="json")


ConfigValue = Annotated[
    str, Field(max_length=CONFIG_VALUE_MAX), BeforeValidator(as_text),
    WithJsonSchema(int_or_string(maxLength=CONFIG_VALUE_MAX)),
]  # fmt: skip
Network = Annotated[str, AfterValidator(as_network), WithJsonSchema({"type": "string", "format": "cidr"})]
FreeForm = dict[str, Any]  # kept as it is: x-kubernetes-preserve-unknown-fields in the schema
Spread = Literal["preferred", "required", "none"]
EvictionPolicy = Literal[
    "noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random",
    "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
]  # fmt: skip


class MemorySpec(Model):
    limit: Quantity = Field(
        "256Mi",
        description="Memory limit of the server's container. At least 96Mi: the process itself needs about 40Mi.",
    )
    maxmemory_percent: int = Field(
        85, ge=10, le=95,
        description="Share of the limit, less 48Mi for the process itself, that data may take (the server's "
        "maxmemory). It can be high because snapshots do not fork; the rest is for client buffers and fragmentation.",
    )
    eviction_policy: EvictionPolicy = Field(
        "noeviction", description="What to drop when maxmemory is reached; noeviction refuses writes instead."
    )
    RULES = (
        Rule("quantity(string(self.limit)).compareTo(quantity('96Mi')) >= 0", "memory.limit must be at least 96Mi"),
    )  # fmt: skip


class SavePoint(Model):
    """When to take a snapshot: as soon as both hold."""

    seconds: int = Field(ge=1, le=INT_MAX, description="Take a snapshot when this many seconds have passed ...")
    changes: int = Field(ge=1, le=INT_MAX, description="... and at least this many changes were made.")


class StorageSpec(Model):
    size: Quantity = Field(
        "1Gi", description="Size of each pod's volume. Volumes grow and never shrink: less than they have is told."
    )
    storage_class_name: str | None = Field(
        None, max_length=253,
        description="StorageClass of the volume; the cluster's default when empty. Cannot change.",
    )
    reclaim_policy: Literal["Retain", "Delete"] = Field(
        "Retain", description="What becomes of the volumes when the Cache is deleted."
    )
    RULES = (
        Rule("has(self.storageClassName) == has(oldSelf.storageClassName) && (!has(self.storageClassName) || "
             "self.storageClassName == oldSelf.storageClassName)", "storage.storageClassName is immutable"),
    )  # fmt: skip


class PersistenceSpec(Model):
    mode: Literal["none", "snapshot", "aof"] = Field(
        "aof", description="none: an empty cache after each restart. snapshot: RDB files at the schedule. "
        "aof: an append-only file, complete up to fsync. Cannot change to or from none.",
    )
    fsync: Literal["always", "everysec", "never"] = Field(
        "everysec", description="When the append-only file is flushed to disk: before each reply (nothing acknowledged "
        "is lost), once a second, or never by the server (when the kernel likes).",
    )
    schedule: tuple[SavePoint, ...] = Field(
        (SavePoint(seconds=3600, changes=1), SavePoint(seconds=300, changes=100)), max_length=16,
        description="Save points of mode snapshot.",
    )
    storage: StorageSpec = Field(default_factory=StorageSpec, description="The volume of each pod.")
    RULES = (
        Rule("(self.mode == 'none') == (oldSelf.mode == 'none')",
             "persistence.mode cannot change to or from none: the volume would appear or vanish"),
    )  # fmt: skip


class SecretKey(Model):
    name: str = Field(min_length=1, max_length=253, description="Name of a Secret in the Cache's namespace.")
    key: str = Field("password", min_length=1, max_length=253, description="Key in that Secret.")


class AuthSpec(Model):
    mode: Literal["generated", "secret", "none"] = Field(
        "generated", description="generated: a password in the Secret <name>-auth. secret: the one secretRef names. "
        "none: no password.",
    )
    secret_ref: SecretKey | None = Field(None, description="Where the password is, with mode secret.")
    RULES = (
        Rule("(self.mode == 'secret') == has(self.secretRef)",
             "auth.mode secret needs auth.secretRef, and only that mode has one"),
    )  # fmt: skip


class Resources(Model):
    requests: dict[str, Quantity] = Field(
        default_factory=dict, description="Requested cpu and memory. Memory defaults to memory.limit, cpu to 100m."
    )
    limits: dict[str, Quantity] = Field(
        default_factory=dict, description="Limits other than memory. No CPU limit by default: throttling costs latency."
    )
    RULES = (Rule("!('memory' in self.limits)", "the memory limit is spec.memory.limit"),)


class PodTemplate(Model):
    labels: dict[str, str] = Field(default_factory=dict, description="More labels of the pods.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations of the pods.")
    spec: FreeForm = Field(
        default_factory=dict,
        description="A PodSpec merged over ours (strategic merge; containers by name, ours is `server`). Command, "
        "arguments, ports and probes of `server` and host namespaces are refused.",
    )


class ServiceSpec(Model):
    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field("ClusterIP", description="Type of the Service.")
    labels: dict[str, str] = Field(default_factory=dict, description="More labels of the Service.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations of the Service.")
    load_balancer_class: str | None = Field(
        None, min_length=1, max_length=253,
        description="Who makes the load balancer; the cluster's default when empty. Cannot change while type is "
        "LoadBalancer.",
    )
    load_balancer_source_ranges: tuple[Network, ...] = Field(
        (), max_length=64,
        description="Networks (10.0.0.0/8) whose clients the load balancer lets in; all of them when empty.",
    )
    external_traffic_policy: Literal["Cluster", "Local"] | None = Field(
        None, description="Whether connections from outside may go by any node (Cluster, Kubernetes' default) or only "
        "by those with a pod (Local), which keeps the client's address.",
    )
    RULES = (
        Rule("self.type == 'LoadBalancer' || !has(self.loadBalancerClass)",
             "loadBalancerClass goes with type LoadBalancer, and only there"),
        Rule("self.type == 'LoadBalancer' || size(self.loadBalancerSourceRanges) == 0",
             "loadBalancerSourceRanges go with type LoadBalancer, and only there"),
        Rule("self.type != 'ClusterIP' || !has(self.externalTrafficPolicy)",
             "externalTrafficPolicy goes with types NodePort and LoadBalancer, and only there"),
        Rule("self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer' || (has(self.loadBalancerClass) == "
             "has(oldSelf.loadBalancerClass) && (!has(self.loadBalancerClass) || self.loadBalancerClass == "
             "oldSelf.loadBalancerClass))", "loadBalancerClass cannot change while type is LoadBalancer"),
    )  # fmt: skip


class ServicesSpec(Model):
    primary: ServiceSpec = Field(default_factory=ServiceSpec, description="<name>-rw: where writes go.")
    replicas: ServiceSpec = Field(
        default_factory=ServiceSpec, description="<name>-ro: where reads may go: replicas that are in time."
    )
    max_lag_seconds: int = Field(
        10, ge=1, le=86400, description="<name>-ro leaves out a replica that has not heard its primary for so long: "
        "what it has is older than that.",
    )  # fmt: skip
    without_replicas: Literal["primary", "none"] = Field(
        "primary", description="Where <name>-ro leads when no replica is in time: to the primary, or to none."
    )  # fmt: skip


class SpreadSpec(Model):
    nodes: Spread = Field(
        "preferred", description="Whether no two pods share a node: preferred, or required (a pod that cannot, waits)."
    )
    zones: Spread = Field(
        "preferred", description="Whether pods are spread over zones: preferred, or required: as evenly as can be, and "
        "a pod that cannot, waits.",
    )


class DurabilitySpec(Model):
    mode: Literal["async", "replicated"] = Field(
        "async", description="When a write is acknowledged: async, as soon as the primary has it; replicated, when "
        "copies have it too.",
    )
    copies: int = Field(
        1, ge=1, le=9, description="With replicated: how many replicas must have a write before it is acknowledged."
    )
    when_missing: Literal["refuse", "continue"] = Field(
        "refuse", description="With replicated, when replicas are missing: refuse writes, or continue with those that "
        "are left.",
    )
    on_disk_loss: Literal["wait", "best"] = Field(
        "wait", description="With replicated, when more disks were lost than copies allow: wait for a person, or go on "
        "with the best data that is left.",
    )
    RULES = (
        Rule("self.mode == 'replicated' || self.copies == 1",
             "durability.copies above 1 go with mode replicated, and only there"),
    )  # fmt: skip


class MonitoringSpec(Model):
    enabled: bool = Field(True, description="Create a PodMonitor (or ServiceMonitor) where the cluster knows the kind.")
    interval: str = Field("30s", pattern=r"^[1-9][0-9]{0,5}(ms|s|m|h)$", description="How often Prometheus scrapes.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the monitor, for Prometheus' selector.")


class NetworkPolicySpec(Model):
    enabled: bool = Field(
        True, description="Create a NetworkPolicy: clients and Prometheus in, the rest of the ports closed."
    )
    clients: tuple[Annotated[FreeForm, Field(description="A NetworkPolicyPeer.")], ...] = Field(
        (), max_length=64,
        description="NetworkPolicyPeers that may connect; all pods of the cluster when empty. The operator always may.",
    )


class CacheSpec(Model):
    image: str | None = Field(
        None, max_length=512,
        description="Image of the server. When empty, the operator's default for `version`.",
    )
    version: str | None = Field(
        None, pattern=r"^[0-9A-Za-z._-]{1,64}$",
        description="Version of the server, a tag of the default image (so not beside `image`); the one this Cache "
        "started with when empty, so that an upgrade of the operator restarts nothing.",
    )
    instances: int = Field(
        1, ge=1, le=10,
        description="Pods: a primary and its replicas, one of which takes its place when it is gone. From 1 to more, "
        "the one restarts once.",
    )
    memory: MemorySpec = Field(default_factory=MemorySpec, description="Memory of each pod.")
    persistence: PersistenceSpec = Field(default_factory=PersistenceSpec, description="What survives a restart.")
    auth: AuthSpec = Field(default_factory=AuthSpec, description="The password of the default user.")
    durability: DurabilitySpec = Field(default_factory=DurabilitySpec, description="When a write is acknowledged.")
    config: dict[str, ConfigValue] = Field(
        default_factory=dict, max_length=CONFIG_KEYS_MAX,
        description="Parameters of the server (redis.conf names), applied live where the server allows it and by a "
        "restart where not. Those that other fields or the operator own are refused.",
    )
    resources: Resources = Field(
        default_factory=Resources,
        description="Requests and CPU limit of the server's container; its memory limit is memory.limit.",
    )
    pod_template: PodTemplate = Field(
        default_factory=PodTemplate,
        description="Overrides of the pods: affinity, tolerations, topology spread, node selector, priority class, "
        "annotations, environment, extra volumes, sidecars ... A change of it restarts them.",
    )
    spread: SpreadSpec = Field(
        default_factory=SpreadSpec,
        description="How far apart the pods of this Cache are kept. A change of it restarts them.",
    )
    services: ServicesSpec = Field(default_factory=ServicesSpec, description="How clients reach the cache.")
    monitoring: MonitoringSpec = Field(default_factory=MonitoringSpec, description="Prometheus Operator's objects.")
    network_policy: NetworkPolicySpec = Field(default_factory=NetworkPolicySpec, description="Who may connect.")
    paused: bool = Field(
        False, description="Follow no change of this Cache. Its pods go on as they are; what is lost is made again."
    )
    RULES = (
        Rule("!has(self.version) || !has(self.image) || self.image == ''",
             "version is a tag of the default image: it cannot stand beside image"),
        Rule("self.durability.mode != 'replicated' || self.durability.copies < self.instances",
             "durability.copies must be less than instances: the primary itself does not count"),
    )  # fmt: skip


ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Model):
    """One thing that is true or not; docs/conditions.md lists all."""

    type: str = Field(description="What it is about; see docs/conditions.md.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: str = Field(description="One word for machines.")
    message: str = Field("", description="A sentence for people.")
    last_transition_time: str = Field(description="When status last changed, RFC 3339.")
    observed_generation: int = Field(0, description="Generation of the spec it speaks of.")


class PodStatus(Model):
    """What is known of one pod."""

    name: str = Field(description="Name of the pod.")
    role: str = Field("", description="primary or replica, as topology says; empty while nothing is decided.")
    ready: bool = Field(False, description="Whether Kubernetes says it is ready.")
    version: str = Field("", description="Version of Cachefleet that it runs.")
    link: Literal["", "up", "down"] = Field(
        "", description="Of a replica: whether it hears its primary; empty where that is not known."
    )
    lag_seconds: int | None = Field(
        None, description="Whole seconds since a replica heard its primary, when last sampled; absent if it never did."
    )
    offset: int = Field(
        0, description="Where in the stream of changes it was when last sampled; 0 where servers do not say it."
    )
    used_memory: int = Field(0, description="Bytes of data when last sampled.")
    last_save: str = Field("", description="When its last snapshot was finished, RFC 3339.")
    message: str = Field("", description="What is wrong with it, in Kubernetes' or the server's words.")


class BindingStatus(Model):
    """What makes a Cache a Provisioned Service of servicebinding.io."""

    name: str = Field(description="Name of the Secret.")


class Refusal(Model):
    """A change that somebody refused; it is tried again when wish or server change, or after a while."""

    target: str = Field(description="What refused: a pod's name, or kind/name of an object.")
    subject: str = Field(description="The parameter or field that was refused.")
    wish: str = Field(description="The value that was refused (a hash where it is secret).")
    message: str = Field(description="The words of who refused it.")
    at: str = Field(description="When, RFC 3339.")


class Member(Model):
    """A pod with one particular disk."""

    pod: str = Field(description="Name of the pod.")
    disk: str = Field(description="Id of its disk, drawn with the data; empty where servers have none.")
    claim_uid: str = Field(
        "", validation_alias="claimUID", serialization_alias="claimUID",
        description="UID of its volume's claim; empty without a volume.",
    )  # fmt: skip


class RecordedPrimary(Model):
    """Who was made the primary."""

    pod: str = Field(description="Name of the pod.")
    disk: str = Field(description="Id of its disk; empty where servers have none.")
    run: str = Field(description="Id of the process that it was then.")


class Position(Model):
    """A place in the stream of changes."""

    tenure: int = Field(ge=0, description="Tenure of the last change before it.")
    offset: int = Field(ge=0, description="Bytes of changes before it.")


class Topology(Model):
    """Who is the primary, and whom it can count on: one decision. It is stored before anybody acts by it."""

    epoch: int = Field(ge=1, description="Number of this record: one more than that of the record before.")
    tenure: int = Field(ge=1, description="Epoch of the record that made the primary the primary.")
    kind: Literal["first", "elected", "handover", "continued"] = Field(
        description="How the primary came to be it: the first one, elected in place of one that is lost, handed over "
        "to; or it goes on."
    )
    primary: RecordedPrimary = Field(description="The primary.")
    members: tuple[Member, ...] = Field(
        (), validation_alias="set", serialization_alias="set", json_schema_extra=_keyed("pod", "disk"),
        description="Who may become the primary, itself included.",
    )  # fmt: skip
    acks: int = Field(ge=0, description="How many other members must have a change; 0: the primary is alone.")
    start: Position | None = Field(
        None, validation_alias="from", serialization_alias="from",
        description="Where its tenure starts; absent where servers do not say it.",
    )  # fmt: skip
    data_set: str | None = Field(None, description="Id of the data; absent where there are none, or none is known.")
    durability: Literal["async", "replicated"] = Field("async", description="When a write is acknowledged.")
    reason: str = Field("", description="Why it was decided, as a sentence.")
    handed_over: int | None = Field(
        None, description="Epoch of the last record that was planned: a primary handed over to another, or one that "
        "was alone is the first of several; absent: none was.",
    )  # fmt: skip
    down_since: str | None = Field(
        None, description="Since when the primary does not answer, RFC 3339; absent while it does."
    )


class CacheStatus(Model):
    phase: str = Field("", description="What is going on, in one word of docs/conditions.md.")
    message: str = Field("", description="The same as a sentence; empty while there is nothing to say.")
    observed_generation: int = Field(0, description="Generation of the spec that this status speaks of.")
    conditions: tuple[Condition, ...] = Field(
        (), json_schema_extra=_keyed("type"),
        description=f"{', '.join(TYPES)}; with more than one pod also {' and '.join(FLEET_TYPES)}.",
    )  # fmt: skip
    primary: str = Field("", description="Pod that is the primary, as topology says.")
    topology: Topology | None = Field(None, description="Who is the primary; absent until all pods have answered.")
    ready: str = Field(
        "", description="Ready pods of wanted pods, as 1/1. Where pods run, a refused spec's do not count."
    )
    instances: int = Field(0, description="Pods that exist, for the scale subresource.")
    selector: str = Field("", description="Label selector of the pods, for the scale subresource.")
    version: str = Field("", description="Version of the primary.")
    image: str = Field("", description="Image of the pods.")
    template_generation: int = Field(
        0, description="Generation of the operator's pod template that the pods are of. A newer operator keeps to it "
        "until the pods restart for another reason.",
    )
    default_version: str = Field("", description="Version that spec.version defaults to: the one it was created with.")
    memory: str = Field("", description="Used of allowed memory when last sampled, as 12Mi/170Mi.")
    binding: BindingStatus | None = Field(
        None, description="The Secret with all that an application needs to connect, after servicebinding.io."
    )
    endpoint: str = Field("", description="Where writes go: host:port.")
    read_endpoint: str = Field("", description="Where reads may go: host:port.")
    pods: tuple[PodStatus, ...] = Field((), description="One entry a pod.", json_schema_extra=_keyed("name"))
    restart_required: tuple[str, ...] = Field((), description="Parameters that wait for a restart, and why.")
    refusals: tuple[Refusal, ...] = Field((), description="Changes that were refused.")
    sampled_at: str = Field("", description="When memory, last save, lag and offset were last sampled, RFC 3339.")


class Metadata(Model):
    """What we read of metav1.ObjectMeta."""

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: str | None = None


class CacheKey(NamedTuple):
    """Which Cache. An object of one has a key of its own in the same namespace: api.objects.Key."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Cache(Model):
    """A managed, Redis-compatible cache."""

    metadata: Metadata
    spec: CacheSpec = Field(
        default_factory=CacheSpec,
        description="What is wanted. Everything has a default: an empty spec is a cache of 256Mi with a password, "
        "whose append-only file is on a volume of 1Gi.",
    )
    status: CacheStatus = Field(default_factory=CacheStatus, description="What is, in the operator's words.")
    RULES = (
        Rule("size(self.metadata.name) <= 40",
             "metadata.name must be at most 40 characters: objects and pods add to it"),
        Rule("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
             "metadata.name must begin with a letter and have lower case letters, digits and inner dashes only, no "
             "dots: Services carry it"),
        Rule("!self.metadata.name.matches('-shard-[0-9]+$')",
             "metadata.name must not end with -shard- and a number: shards of other Caches are called so"),
    )  # fmt: skip

    @property
    def key(self) -> CacheKey:
        return CacheKey(self.metadata.namespace, self.metadata.name)
