/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First bytes of connections, written down from the protocols' descriptions and from what clients and servers of Debian 12 send.
 *
 * S(protocol, confidence with both, client's bytes, server's bytes); "" = that side has not said anything (yet).
 */
#pragma once
#define S(protocol, confidence, c, s) { BH_PROTOCOL_##protocol, BH_PROTOCOL_##confidence, c, sizeof(c) - 1, s, sizeof(s) - 1 }

#define MYSQL_GREETING "\x4a\0\0\0\x0a" "8.0.36\0" "\x08\0\0\0" "abcdefgh\0" "\xff\xff\xff\x02\0\xff\xdf\x15" "\0\0\0\0\0\0\0\0\0\0" "ijklmnopqrst\0" "caching_sha2_password\0"
#define PG_STARTUP "\0\0\0\x36\0\3\0\0user\0app\0database\0shop\0application" "_name\0psql\0\0"
#define KAFKA_API "\0\0\0\x1a\0\x12\0\3\0\0\0\7\0\7rdkafka\0\3a\0\0\0\0\0\0"

static const struct {
        BhProtocol protocol;
        BhProtocolConfidence confidence;
        const char *client;
        gsize client_len;
        const char *server;
        gsize server_len;
} samples[] = {
        S(HTTP1, CERTAIN, "GET /cart?id=7 HTTP/1.1\r\nHost: Shop.example:8080\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n", "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\n\r\n"),
        S(HTTP1, CERTAIN, "POST /api HTTP/1.0\r\n\r\n", ""),
        S(HTTP1, CERTAIN, "M-SEARCH * HTTP/1.1\r\nHOST: x\r\n\r\n", ""),
        S(HTTP1, CERTAIN, "", "HTTP/1.1 404 Not Found\r\n"),
        S(HTTP1, LIKELY, "GET / HTTP/1.1\r\nHost: redis\r\n\r\n", "-ERR wrong number of arguments for 'get' command\r\n"),
        S(HTTP2, CERTAIN, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\4\0\0\0\0\0\0\3\0\0\0\x64", "\0\0\x06\4\0\0\0\0\0\0\3\0\0\0\x80\0\0\0\4\1\0\0\0\0"),
        S(HTTP2, LIKELY, "", "\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x80\0\4\0\1\0\0\0\5\0\xff\xff\xff\0\0\4\x08\0\0\0\0\0\x7f\xff\0\0"),
        S(HTTP2, LIKELY, "", "\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0"),
        S(DNS, CERTAIN, "\0\x1d\x12\x34\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1", ""),
        S(POSTGRESQL, CERTAIN, PG_STARTUP, "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
        S(POSTGRESQL, CERTAIN, "\0\0\0\x08\4\xd2\x16\x2f", "N"),
        S(POSTGRESQL, CERTAIN, "\0\0\0\x08\4\xd2\x16\x2f" PG_STARTUP, "NR\0\0\0\x08\0\0\0\0S\0\0\0\x16server_version\0" "15\0Z\0\0\0\5I"),
        S(POSTGRESQL, CERTAIN, "", "T\0\0\0\x1c\0\1one\0\0\0\0\0\0\0\0\0\0\x17\0\4\xff\xff\xff\xff\0\0D\0\0\0\x0b\0\1\0\0\0\1" "1C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
        S(POSTGRESQL, CERTAIN, "Q\0\0\0\x0dSELECT 1\0", "C\0\0\0\x0dSELECT 1\0Z\0\0\0\5I"),
        S(MYSQL, CERTAIN, "", MYSQL_GREETING),
        S(MYSQL, LIKELY, "", "\x36\0\0\0\xff\x6a\x04Host '172.17.0.3' is not allowed to connect to this"),
        S(REDIS, CERTAIN, "*1\r\n$4\r\nPING\r\n", "+PONG\r\n"),
        S(REDIS, CERTAIN, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", ""),
        S(REDIS, CERTAIN, "PING\r\n", "+PONG\r\n"),
        S(REDIS, CERTAIN, "get k\r\n", "$-1\r\n"),
        S(REDIS, LIKELY, "CONFIG GET dir\r\n", ""),
        S(MONGODB, CERTAIN, "\x2e\0\0\0\1\0\0\0\0\0\0\0\xdd\7\0\0\0\0\0\0\0\x19\0\0\0\x10hello\0\1\0\0\0\2$db\0\6\0\0\0admin\0\0", ""),
        S(MONGODB, CERTAIN, "\x3a\0\0\0\1\0\0\0\0\0\0\0\xd4\7\0\0\4\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff\x13\0\0\0\x10ismaster\0\1\0\0\0\0", ""),
        S(KAFKA, CERTAIN, KAFKA_API, "\0\0\1\0\0\0\0\7\0\0"),
        S(KAFKA, LIKELY, KAFKA_API, ""),
        S(AMQP, CERTAIN, "AMQP\0\0\x09\1", "\1\0\0\0\0\1\xbe\0\x0a\0\x0a\0\x09\0\0\1\x99"),
        S(AMQP, CERTAIN, "AMQP\3\1\0\0", "AMQP\3\1\0\0"),
        S(AMQP, LIKELY, "\1\0\1\0\0\0\x05\0\x14\0\x0a\0\xce", ""),
        S(SSH, CERTAIN, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-OpenSSH_9.6\r\n"),
        S(SSH, CERTAIN, "", "Keep out.\r\nSSH-2.0-dropbear\r\n"),
        S(MEMCACHED, CERTAIN, "set k 0 60 5\r\nhello\r\n", "STORED\r\n"),
        S(MEMCACHED, CERTAIN, "get k\r\n", "VALUE k 0 5\r\nhello\r\nEND\r\n"),
        S(MEMCACHED, CERTAIN, "get k\r\n", "END\r\n"),
        S(MEMCACHED, CERTAIN, "\x80\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0k", "\x81\0\0\0\0\0\0\1\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\0\0Not found"),
        S(NATS, CERTAIN, "CONNECT {\"verbose\":false,\"lang\":\"go\"}\r\nPING\r\n", "INFO {\"server_id\":\"X\",\"version\":\"2.9.10\",\"max_payload\":1048576}\r\n"),
        S(NATS, CERTAIN, "PING\r\n", "PONG\r\n"),
        S(SMTP, CERTAIN, "EHLO app\r\n", "220 mail.example ESMTP Postfix\r\n"),
        S(SMTP, CERTAIN, "HELO app\r\n", "220 mail\r\n"),
        S(FTP, CERTAIN, "USER anonymous\r\n", "220 (vsFTPd 3.0.3)\r\n"),
        S(POP3, CERTAIN, "CAPA\r\n", "+OK Dovecot ready.\r\n"),
        S(IMAP, CERTAIN, "a1 LOGIN x y\r\n", "* OK [CAPABILITY IMAP4rev1] ready\r\n"),
        S(MQTT, CERTAIN, "\x10\x0e\0\4MQTT\4\2\0\x3c\0\2ab", "\x20\2\0\0"),
        S(UNKNOWN, NONE, "", ""),
        S(UNKNOWN, NONE, "PING\r\n", ""),
        S(UNKNOWN, NONE, "", "+OK\r\n"),
        S(UNKNOWN, NONE, "", "220 ready\r\n"),
        S(UNKNOWN, NONE, "OPTIONS sip:x@y SIP/2.0\r\nVia: SIP/2.0/UDP z\r\n\r\n", "SIP/2.0 200 OK\r\n"),
        S(UNKNOWN, NONE, "OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", "RTSP/1.0 200 OK\r\n"),
        S(UNKNOWN, NONE, "{\"get\": \"/ HTTP\"}", "[1,2]"),
};
#undef S
