"""Error texts that more than one command replies, with their wire prefix, as Valkey 9.1 words them."""

cdef extern from *:
    """
    #define ERR_WRONGTYPE "WRONGTYPE Operation against a key holding the wrong kind of value"
    #define ERR_SYNTAX "ERR syntax error"
    #define ERR_NO_KEY "ERR no such key"
    #define ERR_BUSYKEY "BUSYKEY Target key name already exists."
    #define ERR_NOT_INTEGER "ERR value is not an integer or out of range"
    #define ERR_NOT_FLOAT "ERR value is not a valid float"
    #define ERR_OUT_OF_RANGE "ERR index out of range"
    #define ERR_SAME_OBJECT "ERR source and destination objects are the same"
    #define ERR_OOM "OOM command not allowed when used memory > 'maxmemory'."
    #define ERR_STRING_TOO_LONG "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
    #define ERR_OVERFLOW "ERR increment or decrement would overflow"
    #define ERR_DB_INDEX "ERR DB index is out of range"
    #define ERR_NOAUTH "NOAUTH Authentication required."
    #define ERR_LOADING "LOADING Valkey is loading the dataset in memory"
    #define ERR_NOREPLICAS "NOREPLICAS Not enough good replicas to write."
    #define ERR_READONLY "READONLY You can't write against a read only replica."
    #define ERR_MASTERDOWN "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."
    #define ERR_UNBLOCKED \
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
    #define ERR_UNKNOWN_OUTCOME \
        "UNKNOWNOUTCOME The write was executed here, but replicas have not confirmed it in time. It may survive or not."
    #define ERR_EXECABORT "EXECABORT Transaction discarded because of previous errors."
    """
    const char* ERR_WRONGTYPE
    const char* ERR_SYNTAX
    const char* ERR_NO_KEY
    const char* ERR_BUSYKEY
    const char* ERR_NOT_INTEGER
    const char* ERR_NOT_FLOAT
    const char* ERR_OUT_OF_RANGE
    const char* ERR_SAME_OBJECT
    const char* ERR_OOM
    const char* ERR_STRING_TOO_LONG
    const char* ERR_OVERFLOW
    const char* ERR_DB_INDEX
    const char* ERR_NOAUTH
    const char* ERR_LOADING
    const char* ERR_NOREPLICAS
    const char* ERR_READONLY
    const char* ERR_MASTERDOWN
    const char* ERR_UNBLOCKED
    const char* ERR_UNKNOWN_OUTCOME
    const char* ERR_EXECABORT
