/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Application protocols that the first bytes of a connection tell. Numbers are permanent within a release, names for ever: they are shown and asked for.
 *
 * BH_PROTOCOL(ID, number, name)
 */
BH_PROTOCOL(UNKNOWN, 0, "")
BH_PROTOCOL(HTTP1, 1, "http/1")
BH_PROTOCOL(HTTP2, 2, "http/2")
BH_PROTOCOL(TLS, 3, "tls")
BH_PROTOCOL(DNS, 4, "dns")
BH_PROTOCOL(POSTGRESQL, 5, "postgresql")
BH_PROTOCOL(MYSQL, 6, "mysql")
BH_PROTOCOL(REDIS, 7, "redis")
BH_PROTOCOL(MONGODB, 8, "mongodb")
BH_PROTOCOL(KAFKA, 9, "kafka")
BH_PROTOCOL(AMQP, 10, "amqp")
BH_PROTOCOL(SSH, 11, "ssh")
BH_PROTOCOL(MEMCACHED, 12, "memcached")
BH_PROTOCOL(NATS, 13, "nats")
BH_PROTOCOL(SMTP, 14, "smtp")
BH_PROTOCOL(FTP, 15, "ftp")
BH_PROTOCOL(POP3, 16, "pop3")
BH_PROTOCOL(IMAP, 17, "imap")
BH_PROTOCOL(MQTT, 18, "mqtt")
BH_PROTOCOL(QUIC, 19, "quic")
