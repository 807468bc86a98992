/* The numbers of WireGuard (paper section 6.1, the kernel's messages.h) that belong to established keys. */
#ifndef SALLYPORT_PROTOCOL_H
#define SALLYPORT_PROTOCOL_H

#include <stdint.h>

#define SP_SECOND_NS UINT64_C(1000000000)
#define SP_REKEY_AFTER_MESSAGES (UINT64_C(1) << 60)
#define SP_REJECT_AFTER_MESSAGES (UINT64_MAX - (UINT64_C(1) << 13))
#define SP_REKEY_AFTER_TIME_NS (120 * SP_SECOND_NS)
#define SP_REJECT_AFTER_TIME_NS (180 * SP_SECOND_NS)
#define SP_REKEY_TIMEOUT_NS (5 * SP_SECOND_NS)
#define SP_KEEPALIVE_TIMEOUT_NS (10 * SP_SECOND_NS)
#define SP_UNANSWERED_NS (SP_KEEPALIVE_TIMEOUT_NS + SP_REKEY_TIMEOUT_NS)
/* The last moment at which a receiving initiator can still get a new key before the old one is refused. */
#define SP_LAST_MINUTE_NS (SP_REJECT_AFTER_TIME_NS - SP_KEEPALIVE_TIMEOUT_NS - SP_REKEY_TIMEOUT_NS)
#define SP_JITTER_NS (SP_SECOND_NS / 3)

enum {
    SP_MESSAGE_INITIATION = 1,
    SP_MESSAGE_RESPONSE = 2,
    SP_MESSAGE_COOKIE = 3,
    SP_MESSAGE_TRANSPORT = 4,
    SP_INITIATION_BYTES = 148,
    SP_RESPONSE_BYTES = 92,
    SP_COOKIE_BYTES = 64,
    SP_TRANSPORT_HEADER_BYTES = 16,
    SP_TRANSPORT_OVERHEAD_BYTES = 32, /* header and tag; also the length of a keepalive */
    SP_PADDING_BYTES = 16,
    SP_STAGED_PER_PEER = 128,
    SP_PACKET_BYTES = 65535
};

#endif
