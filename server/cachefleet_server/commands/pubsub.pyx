"""Pub/sub's commands; what they do is in keyspace/channels.pxd.

The replies of SUBSCRIBE and its kind are pushes, one a name. Who listens in RESP2 may use few commands more (the
dispatcher refuses the others), because it could not tell a reply from a message.
"""

from libc.stdint cimport int64_t

from cachefleet_server.core.command cimport command_row
from cachefleet_server.core.engine cimport CLIENT_DENY_BLOCKING, CLIENT_MULTI, arg_t, client_t, engine_t
from cachefleet_server.core.push cimport push_reply_begin
from cachefleet_server.core.reply cimport (
    reply_array, reply_bulk, reply_error, reply_error_format, reply_insert, reply_int, reply_mark, reply_simple)
from cachefleet_server.ds.blob cimport blob_t
from cachefleet_server.ds.glob cimport glob_match
from cachefleet_server.ds.owners cimport owner_drop
from cachefleet_server.keyspace.channels cimport (
    LISTEN_CHANNEL, LISTEN_PATTERN, LISTEN_SHARD, channel_join, channel_leave, channel_listeners, channel_publish,
    channel_t, channels_count, channels_each, subscription, subscriptions)
from cachefleet_server.keyspace.journal cimport journal_message
from cachefleet_server.resp.input cimport INPUT_BIG, input_lend_blob
from cachefleet_server.resp.writer cimport mark_t, out_bulk, out_int, out_null, out_t

# ---- joining and leaving ---------------------------------------------------------------------------------

cdef const char* REFUSALS[3]  # LISTEN_KINDS
REFUSALS[LISTEN_CHANNEL] = b"ERR SUBSCRIBE isn't allowed for a DENY BLOCKING client"
REFUSALS[LISTEN_PATTERN] = b"ERR PSUBSCRIBE isn't allowed for a DENY BLOCKING client"
REFUSALS[LISTEN_SHARD] = b"ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"


cdef inline int64_t _counted(const client_t* c, int kind) noexcept nogil:
    """What a reply says: of channels and patterns together, or of shard channels."""
    if kind == LISTEN_SHARD:
        return subscriptions(c, LISTEN_SHARD)
    return <int64_t>subscriptions(c, LISTEN_CHANNEL) + subscriptions(c, LISTEN_PATTERN)


cdef out_t* _reply(client_t* c, const char* word, const char* name, size_t n) noexcept nogil:
    """The word and the name of a reply; its count follows. NULL as a name, and NULL when nothing is sent."""
    cdef out_t* out = push_reply_begin(c, 3)
    if out == NULL:
        return NULL
    out_bulk(out, word, c.cmd.name_len)
    if name != NULL:
        out_bulk(out, name, n)
    else:
        out_null(out, c.resp)
    return out


cdef inline void _count(const client_t* c, out_t* out, int kind) noexcept nogil:
    if out != NULL:
        out_int(out, _counted(c, kind))


cdef void _join(client_t* c, int kind) noexcept nogil:
    """A transaction may begin to listen, though not to shard channels."""
    cdef int i
    if c.fd < 0 or c.flags & CLIENT_DENY_BLOCKING and (kind == LISTEN_SHARD or not c.flags & CLIENT_MULTI):
        reply_error(c, REFUSALS[kind])
        return
    for i in range(1, c.argc):
        channel_join(c, kind, c.argv[i].ptr, c.argv[i].len)
        _count(c, _reply(c, c.cmd.name, c.argv[i].ptr, c.argv[i].len), kind)


cdef void _leave(client_t* c, int kind) noexcept nogil:
    """Those that are named, or all, each with a reply; one if there are none."""
    cdef channel_t* channel
    cdef out_t* out
    cdef int i
    for i in range(1, c.argc):
        channel_leave(c, kind, c.argv[i].ptr, c.argv[i].len)
        _count(c, _reply(c, c.cmd.name, c.argv[i].ptr, c.argv[i].len), kind)
    if c.argc > 1:
        return
    if subscriptions(c, kind) == 0:
        _count(c, _reply(c, c.cmd.name, NULL, 0), kind)
    while subscriptions(c, kind):
        channel = subscription(c, kind, subscriptions(c, kind) - 1)
        out = _reply(c, c.cmd.name, &channel.name[0], channel.nk)  # before the name is gone
        channel_leave(c, kind, &channel.name[0], channel.nk)
        _count(c, out, kind)


cdef void subscribe_command(client_t* c) noexcept nogil:
    _join(c, LISTEN_CHANNEL)


cdef void psubscribe_command(client_t* c) noexcept nogil:
    _join(c, LISTEN_PATTERN)


cdef void ssubscribe_command(client_t* c) noexcept nogil:
    _join(c, LISTEN_SHARD)


cdef void unsubscribe_command(client_t* c) noexcept nogil:
    _leave(c, LISTEN_CHANNEL)


cdef void punsubscribe_command(client_t* c) noexcept nogil:
    _leave(c, LISTEN_PATTERN)


cdef void sunsubscribe_command(client_t* c) noexcept nogil:
    _leave(c, LISTEN_SHARD)

# ---- publishing ------------------------------------------------------------------------------------------

cdef void _publish(client_t* c, int kind) noexcept nogil:
    cdef const arg_t* name = &c.argv[1]
    cdef const arg_t* message = &c.argv[2]
    cdef blob_t* blob = input_lend_blob(&c.input, message) if message.len >= INPUT_BIG else NULL
    reply_int(c, channel_publish(c.engine, kind, name.ptr, name.len, message.ptr, message.len, blob))
    journal_message(c)
    owner_drop(c.engine.heap, blob)


cdef void publish_command(client_t* c) noexcept nogil:
    _publish(c, LISTEN_CHANNEL)


cdef void spublish_command(client_t* c) noexcept nogil:
    _publish(c, LISTEN_SHARD)

# ---- PUBSUB ----------------------------------------------------------------------------------------------

cdef struct listing_t:
    client_t* client
    const arg_t* pattern  # NULL: all
    int64_t count


cdef void _list(void* ctx, void* element) noexcept nogil:
    cdef listing_t* l = <listing_t*>ctx
    cdef channel_t* channel = <channel_t*>element
    if l.pattern == NULL or glob_match(l.pattern.ptr, l.pattern.len, &channel.name[0], channel.nk, False):
        reply_bulk(l.client, &channel.name[0], channel.nk)
        l.count += 1


cdef void _channels(client_t* c, int kind) noexcept nogil:
    cdef listing_t l
    cdef mark_t mark
    if c.argc > 3:
        reply_error_format(
            c, b"ERR unknown subcommand or wrong number of arguments for '%s'. Try PUBSUB HELP.",
            c.argv[1].ptr, c.argv[1].len)
        return
    l.client = c
    l.pattern = &c.argv[2] if c.argc == 3 else NULL
    l.count = 0
    mark = reply_mark(c)
    channels_each(c.engine, kind, _list, &l)
    reply_insert(c, mark, b'*', l.count)


cdef void _numsub(client_t* c, int kind) noexcept nogil:
    cdef int i
    reply_array(c, 2 * (c.argc - 2))
    for i in range(2, c.argc):
        reply_bulk(c, c.argv[i].ptr, c.argv[i].len)
        reply_int(c, channel_listeners(c.engine, kind, c.argv[i].ptr, c.argv[i].len))


cdef void pubsub_channels_command(client_t* c) noexcept nogil:
    _channels(c, LISTEN_CHANNEL)


cdef void pubsub_shardchannels_command(client_t* c) noexcept nogil:
    _channels(c, LISTEN_SHARD)


cdef void pubsub_numsub_command(client_t* c) noexcept nogil:
    _numsub(c, LISTEN_CHANNEL)


cdef void pubsub_shardnumsub_command(client_t* c) noexcept nogil:
    _numsub(c, LISTEN_SHARD)


cdef void pubsub_numpat_command(client_t* c) noexcept nogil:
    reply_int(c, <int64_t>channels_count(c.engine, LISTEN_PATTERN))


cdef void pubsub_help_command(client_t* c) noexcept nogil:
    reply_array(c, 13)
    reply_simple(c, b"PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
    reply_simple(c, b"CHANNELS [<pattern>]")
    reply_simple(c, b"    The channels that somebody listens to, or those of them that match.")
    reply_simple(c, b"NUMPAT")
    reply_simple(c, b"    How many patterns are listened to.")
    reply_simple(c, b"NUMSUB [<channel> ...]")
    reply_simple(c, b"    How many clients listen to each of these channels; patterns do not count.")
    reply_simple(c, b"SHARDCHANNELS [<pattern>]")
    reply_simple(c, b"    The shard channels that somebody listens to, or those of them that match.")
    reply_simple(c, b"SHARDNUMSUB [<shardchannel> ...]")
    reply_simple(c, b"    How many clients listen to each of these shard channels.")
    reply_simple(c, b"HELP")
    reply_simple(c, b"    Print this help.")

# ---- rows ------------------------------------------------------------------------------------------------

cdef int _register_listening(engine_t* e) except -1:
    words = "noscript loading stale pubsub"
    shards = "1:-1 not_key"
    command_row(
        e, subscribe_command, "subscribe", -2, words, "", "",
        "pubsub 2.0.0 O(N) where N is the number of channels to subscribe to.",
        "Listens to channels.", "channel:string...")
    command_row(
        e, unsubscribe_command, "unsubscribe", -1, words, "", "",
        "pubsub 2.0.0 O(N) where N is the number of channels to unsubscribe.",
        "Listens no longer to channels, or to none.", "[channel:string...]")
    command_row(
        e, psubscribe_command, "psubscribe", -2, words, "", "",
        "pubsub 2.0.0 O(N) where N is the number of patterns to subscribe to.",
        "Listens to the channels that match patterns.", "pattern:pattern...")
    command_row(
        e, punsubscribe_command, "punsubscribe", -1, words, "", "",
        "pubsub 2.0.0 O(N) where N is the number of patterns to unsubscribe.",
        "Listens no longer to patterns, or to none.", "[pattern:pattern...]")
    command_row(
        e, ssubscribe_command, "ssubscribe", -2, words, "", shards,
        "pubsub 7.0.0 O(N) where N is the number of shard channels to subscribe to.",
        "Listens to shard channels.", "shardchannel:string...")
    command_row(
        e, sunsubscribe_command, "sunsubscribe", -1, words, "", shards,
        "pubsub 7.0.0 O(N) where N is the number of shard channels to unsubscribe.",
        "Listens no longer to shard channels, or to none.", "[shardchannel:string...]")
    return 0


cdef int _register_looking(engine_t* e) except -1:
    words = "pubsub loading stale"
    command_row(
        e, NULL, "pubsub", -2, "container", "", "", "pubsub 2.8.0 Depends on subcommand.",
        "Commands about channels and their listeners.", "")
    command_row(
        e, pubsub_channels_command, "pubsub|channels", -2, words, "", "",
        "pubsub 2.8.0 O(N) where N is the number of active channels, and assuming constant time pattern matching "
        "(relatively short channels and patterns)", "Returns the channels that somebody listens to.",
        "[pattern:pattern]")
    command_row(
        e, pubsub_numpat_command, "pubsub|numpat", 2, words, "", "", "pubsub 2.8.0 O(1)",
        "Returns how many patterns are listened to.", "")
    command_row(
        e, pubsub_numsub_command, "pubsub|numsub", -2, words, "", "",
        "pubsub 2.8.0 O(N) for the NUMSUB subcommand, where N is the number of requested channels",
        "Returns how many clients listen to channels.", "[channel:string...]")
    command_row(
        e, pubsub_shardchannels_command, "pubsub|shardchannels", -2, words, "", "",
        "pubsub 7.0.0 O(N) where N is the number of active shard channels, and assuming constant time pattern matching "
        "(relatively short shard channels).", "Returns the shard channels that somebody listens to.",
        "[pattern:pattern]")
    command_row(
        e, pubsub_shardnumsub_command, "pubsub|shardnumsub", -2, words, "", "",
        "pubsub 7.0.0 O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
        "Returns how many clients listen to shard channels.", "[shardchannel:string...]")
    command_row(
        e, pubsub_help_command, "pubsub|help", 2, "loading stale", "", "", "pubsub 6.2.0 O(1)",
        "Describes the subcommands.", "")
    return 0


cdef int register_pubsub(engine_t* e) except -1:
    _register_listening(e)
    command_row(
        e, publish_command, "publish", 3, "pubsub loading stale fast may_replicate", "", "",
        "pubsub 2.0.0 O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total "
        "number of subscribed patterns (by any client).", "Sends a message to a channel.",
        "channel:string message:string")
    command_row(
        e, spublish_command, "spublish", 3, "pubsub loading stale fast may_replicate", "", "1 not_key",
        "pubsub 7.0.0 O(N) where N is the number of clients subscribed to the receiving shard channel.",
        "Sends a message to a shard channel.", "shardchannel:string message:string")
    _register_looking(e)
    return 0
