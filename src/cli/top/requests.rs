//! Asks the daemon, and turns its responses into inputs of the screen. Draws nothing.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use crate::cli::render::{diff_view, labels, output};
use crate::cli::top::input::{Input, RestoreAsked, TextId, TextKind, TopRequest};
use crate::cli::top::rows::FeatureId;
use crate::client::{Client, RequestPath, percent_encode};
use crate::core::digest::Digest;
use crate::core::path::escape_unprintable;
use crate::wire::artifacts::ArtifactDetail;
use crate::wire::baseline::{AcceptRequest, AcceptResponse};
use crate::wire::history::{RestoreItem, RestoreRequest, RestoreResponse, StateDiff};

/// Maximum number of bytes of a content that is shown; the rest is counted.
const MAX_CONTENT_BYTES: usize = 1 << 20;

/// How often, and in which interval, a difference is asked for again of which a version is not stored: it is stored shortly
/// after the event.
const DIFF_ATTEMPTS: u32 = 15;
const DIFF_INTERVAL: Duration = Duration::from_millis(200);

/// Carries out a request, on a connection of its own, and calls `answer` with each response. One that is not for the
/// daemon is ignored.
pub(super) async fn send<F>(socket: &Path, request: TopRequest, answer: impl Fn(Input) -> F)
where
    F: Future<Output = ()>,
{
    let text = |error: anyhow::Error| format!("{error:#}");
    let input = match request {
        TopRequest::Artifacts(id) => {
            let list = async {
                let path = path("/api/dossier/artifacts", &id);
                anyhow::Ok(Client::connect(socket).await?.get(&path).await?.parse()?)
            };
            let list = list.await.map_err(text);
            Input::Artifacts(id, list)
        }
        TopRequest::Text(id) => match send_texts(socket, &id, &answer).await {
            Ok(()) => return,
            Err(error) => Input::Text(id, Err(text(error))),
        },
        TopRequest::Accept(id, tree) => Input::Done(accept(socket, &id, tree).await.map_err(text)),
        TopRequest::Restore(asked) => Input::Done(restore(socket, asked).await.map_err(text)),
        TopRequest::Redraw | TopRequest::Suspend | TopRequest::Quit => return,
    };
    answer(input).await;
}

fn path(path: &str, id: &FeatureId) -> RequestPath {
    RequestPath::new(path).with("feature", &id.slug).with("project", &id.root_id)
}

/// Calls `answer` with a text; with a difference again, if more of it is stored a moment later.
async fn send_texts<F>(
    socket: &Path,
    id: &TextId,
    answer: impl Fn(Input) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = ()>,
{
    let mut client = Client::connect(socket).await?;
    match &id.kind {
        TextKind::Content(key) => {
            let target = format!("/api/dossier/artifacts/{}", percent_encode(key));
            let response = client.get(&path(&target, &id.feature)).await?;
            answer(Input::Text(id.clone(), Ok(content_text(&response.parse()?)))).await;
            Ok(())
        }
        TextKind::Diff => {
            let target = path("/api/dossier/diff", &id.feature);
            let target = target.with("from", "baseline").with("to", "now");
            let mut attempts = 0..DIFF_ATTEMPTS;
            let mut shown = None;
            loop {
                let diff: StateDiff = client.get(&target).await?.parse()?;
                let text = diff_view::styled(&diff);
                if shown.as_ref() != Some(&text) {
                    answer(Input::Text(id.clone(), Ok(text.clone()))).await;
                    shown = Some(text);
                }
                let is_pending =
                    diff.files.iter().any(|file| file.unavailable.as_deref() == Some("not_stored"));
                if !is_pending || attempts.next().is_none() {
                    return Ok(());
                }
                sleep(DIFF_INTERVAL).await;
            }
        }
    }
}

/// Returns the content, or why there is none.
fn content_text(detail: &ArtifactDetail<'_>) -> String {
    let Some(content) = &detail.content else {
        let notice = detail.truncation_notice.as_deref();
        let reason = detail.error_reason.map(|reason| reason.to_string());
        return notice
            .map(|text| escape_unprintable(text).into_owned())
            .or(reason)
            .unwrap_or_default();
    };
    let mut end = content.len().min(MAX_CONTENT_BYTES);
    while !content.is_char_boundary(end) {
        end -= 1;
    }
    let mut text = output::printable_lines(&content[..end]);
    if end < content.len() {
        text.push_str(&format!("\n\u{2026} {} more bytes", content.len() - end));
    }
    text
}

async fn accept(socket: &Path, id: &FeatureId, tree: Digest) -> anyhow::Result<String> {
    let request =
        AcceptRequest { tree_hash_sha256: Some(tree), replace_corrupt: true, scope: None };
    let mut client = Client::connect(socket).await?;
    let target = path("/api/dossier/baseline", id).with_sync();
    let response = client.post(&target, serde_json::to_vec(&request)?).await?;
    let accepted = response.parse::<AcceptResponse<'_>>()?.accepted;
    Ok(format!("{}: accepted {} artifacts", id.slug, accepted.artifacts))
}

async fn restore(socket: &Path, asked: RestoreAsked) -> anyhow::Result<String> {
    let item = RestoreItem { artifact_key: Some(asked.artifact_key), ..RestoreItem::default() };
    let request = RestoreRequest {
        items: vec![item],
        force: asked.is_present,
        tree_hash_sha256: Some(asked.tree),
        ..RestoreRequest::default()
    };
    let mut client = Client::connect(socket).await?;
    let target = path("/api/dossier/restore", &asked.feature).with_sync();
    let response = client.post(&target, serde_json::to_vec(&request)?).await?;
    let files = response.parse::<RestoreResponse>()?.files;
    let lines = files.iter().map(|file| {
        let reason = file.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{} {}{reason}", labels::restore_outcome(file.outcome), file.relative_path)
    });
    Ok(lines.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;

    use serde_json::json;

    use super::*;

    /// Returns the texts of a difference, and the number of requests for it, if the daemon answers that a version is
    /// not stored `pending` times.
    async fn shown_diffs(pending: usize) -> (Vec<String>, usize) {
        let answer = move |number: usize| {
            let unavailable = (number < pending).then_some("not_stored");
            json!({"feature_slug": "f", "feature_path": "f", "from": "baseline", "to": "now", "files": [{
                "artifact_key": "k", "relative_path": "spec.md", "previous_path": null, "kind": "changed",
                "from_hash": "1".repeat(64), "to_hash": "2".repeat(64), "added_lines": 1, "removed_lines": 1,
                "mode": "100644", "hunks": [], "unavailable": unavailable,
            }]})
            .to_string()
        };
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let daemon = std::thread::spawn(move || {
            let mut connection = listener.accept().unwrap().0;
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let mut requests = 0;
            while let Some(Ok(_)) = lines.next() {
                while !lines.next().unwrap().unwrap().is_empty() {}
                let body = answer(requests);
                requests += 1;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                connection.write_all(format!("{head}{body}").as_bytes()).unwrap();
            }
            requests
        });
        let feature = FeatureId { root_id: "r".to_owned(), slug: "f".to_owned() };
        let request = TopRequest::Text(TextId { feature, kind: TextKind::Diff });
        let texts = RefCell::new(Vec::new());
        send(&socket, request, |input| {
            let Input::Text(_, text) = input else { panic!("no text") };
            texts.borrow_mut().push(text.unwrap());
            std::future::ready(())
        })
        .await;
        // The connection is closed by a task of this runtime.
        let requests = tokio::task::spawn_blocking(move || daemon.join().unwrap()).await;
        (texts.into_inner(), requests.unwrap())
    }

    #[tokio::test]
    async fn a_difference_is_shown_at_once_and_again_when_both_versions_are_stored() {
        let (texts, requests) = shown_diffs(2).await;
        assert_eq!(requests, 3);
        let is_incomplete: Vec<bool> =
            texts.iter().map(|text| text.contains("not stored")).collect();
        assert_eq!(is_incomplete, [true, false], "{texts:?}");
        // A version that was never stored.
        let (texts, requests) = shown_diffs(usize::MAX).await;
        assert_eq!(requests, DIFF_ATTEMPTS as usize + 1);
        assert!(texts.len() == 1 && texts[0].contains("not stored"), "{texts:?}");
    }
}
