/* SPDX-License-Identifier: Apache-2.0 */
/* Pages whose script is fetched when somebody goes there. What has come once stays. After an update of the central the old names are gone: then only a reload helps, and the page says so. */
import type { ComponentType, JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Button, Empty, Skeleton } from "../parts/ui";

/* A part of a page that nothing stands in for meanwhile. */
export function lazyPart<P extends object>(load: () => Promise<ComponentType<P>>): (props: P) => JSX.Element | null {
  let Part: ComponentType<P> | undefined;
  return function LazyPart(props) {
    const [, redraw] = useState(0);
    const [failed, setFailed] = useState(false);
    useEffect(() => { if (!Part) load().then((p) => { Part = p; redraw((n) => n + 1); }, () => setFailed(true)); }, []);
    if (Part) return <Part {...props} />;
    return failed ? <div class="inline-warn" role="alert"><span>This part could not be fetched: the central does not answer, or it was updated since this tab was opened.</span> <Button class="small" onClick={() => location.reload()}>Load everything anew</Button></div> : null;
  };
}

export function lazy(load: () => Promise<ComponentType>): () => JSX.Element {
  let Page: ComponentType | undefined;
  return function Lazy() {
    const [, redraw] = useState(0);
    const [failed, setFailed] = useState(false);
    const fetch = () => {
      setFailed(false);
      load().then((p) => { Page = p; redraw((n) => n + 1); }, () => setFailed(true));
    };
    useEffect(() => { if (!Page) fetch(); }, []);
    if (Page) return <Page />;
    return (
      <div class="page">{failed
        ? <Empty icon="warn" title="This page could not be fetched"><p>The central does not answer, or it was updated since this tab was opened.</p><span class="form-buttons"><Button kind="primary" onClick={() => location.reload()}>Load everything anew</Button><Button onClick={fetch}>Try again</Button></span></Empty>
        : <Skeleton rows={8} label="Loading the page" />}</div>
    );
  };
}
