//! Shows how far scans have come, on a terminal's standard error and nowhere else.

use std::{convert::Infallible, future::Future, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use scangate_client::{
    Client,
    v1::{ScanProgress, WatchScanRequest, WatchScanResponse},
};

use crate::{page::printable, session::Session, words};

const TICK: Duration = Duration::from_millis(120);

/// Does the work, and as long as it lasts shows the scan that it waits for.
pub(crate) async fn during<T>(session: &Session, watch: Option<WatchScanRequest>, work: impl Future<Output = T>) -> T {
    let Some(watch) = watch.filter(|_| session.watched) else {
        return work.await;
    };
    let bar = bar();
    let answer = tokio::select! {
        answer = work => answer,
        never = follow(&session.client, watch, &bar) => match never {},
    };
    bar.finish_and_clear();
    answer
}

/// Seen on a terminal only; a spinner until it is known how much there is to wait for.
pub(crate) fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message("waiting for the scan");
    set_style(&bar, "{spinner} {msg} {elapsed}");
    bar.enable_steady_tick(TICK);
    bar
}

/// Brings the bar to where the scan is.
pub(crate) fn show(bar: &ProgressBar, message: &WatchScanResponse) {
    if bar.length().is_none() {
        set_style(bar, "{spinner} {msg} [{bar:24}] {pos}/{len} {elapsed}");
    }
    bar.set_length(message.total.into());
    bar.set_position(message.ended.into());
    if let Some(progress) = &message.progress {
        bar.set_message(printable(&describe(progress)));
    }
}

/// A template that does not parse leaves indicatif's own style: still a bar.
fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// E.g. `linux/amd64 sha256:0123456789ab IN_PROGRESS`.
pub(crate) fn describe(progress: &ScanProgress) -> String {
    let Some(manifest) = &progress.manifest else {
        return String::new();
    };
    let status = manifest.scan.as_ref().map_or(0, |scan| scan.status);
    let platform = words::platform(manifest.platform.as_ref());
    let words = [platform, words::short_digest(&manifest.digest), words::scan_status(status)];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Never ends: when the scan has, the work that waits for it still needs a moment. A watch that fails only shows less.
async fn follow(client: &Client, request: WatchScanRequest, bar: &ProgressBar) -> Infallible {
    if let Ok(mut watch) = client.watch_scan(request).await {
        while let Ok(Some(message)) = watch.next().await {
            show(bar, &message);
        }
    }
    std::future::pending().await
}
