/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is added up of a half of a connection (event/half.h): columns of the store, members of BhHalfCounts, members of an edge in the API.
 *
 *     BH_HALF_COUNT(member, other, meaning)
 *
 * `other`: the member that means the same seen from the other side.
 */
BH_HALF_COUNT(connections, connections, "connections that began")
BH_HALF_COUNT(refused, refused, "of these refused")
BH_HALF_COUNT(timed_out, timed_out, "never answered")
BH_HALF_COUNT(unreachable, unreachable, "without a way there")
BH_HALF_COUNT(failed, failed, "failed for another reason")
BH_HALF_COUNT(reset, reset, "ended by a reset")
BH_HALF_COUNT(bytes_out, bytes_in, "bytes sent")
BH_HALF_COUNT(bytes_in, bytes_out, "bytes got")
BH_HALF_COUNT(packets_out, packets_in, "packets sent")
BH_HALF_COUNT(packets_in, packets_out, "packets got")
BH_HALF_COUNT(duration_ns, duration_ns, "nanoseconds, over ended connections")
