/* SPDX-License-Identifier: Apache-2.0 */
import { Hub, type ToHub } from "./hub";

const hub = new Hub();
let clients = 0;

(self as unknown as { onconnect: (e: MessageEvent) => void }).onconnect = (e) => {
  const port = e.ports[0];
  const id = `p${++clients}`;
  port.onmessage = (m) => hub.handle(id, m.data as ToHub, (out) => port.postMessage(out));
  port.start();
};
