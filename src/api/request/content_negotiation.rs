//! What an `Accept` header wants: a page of the journal, or the stream of it.

/// Whether an `Accept` header wants a page, not a stream: it names JSON, and likes it no less.
pub(crate) fn prefers_json(accept: &str) -> bool {
    let (json, named) = media_type_quality(accept, "application", "json");
    let (stream, _) = media_type_quality(accept, "text", "event-stream");
    json > stream || (named && json > 0 && json == stream)
}

/// How much an `Accept` header likes a media type, in thousandths, and whether it names it. The
/// most specific range that covers it decides (RFC 9110, 12.5.1).
fn media_type_quality(accept: &str, kind: &str, subtype: &str) -> (u16, bool) {
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let exact = match name.split_once('/') {
            Some(("*", "*")) => 1,
            Some((of, "*")) if of.eq_ignore_ascii_case(kind) => 2,
            Some((of, sub))
                if of.eq_ignore_ascii_case(kind) && sub.eq_ignore_ascii_case(subtype) =>
            {
                3
            }
            _ => continue,
        };
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())
        });
        // What is not understood says nothing of liking it less.
        let weight = weight.flatten().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0);
        if exact > best.0 {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
            let thousandths = (weight * 1000.0).round() as u16;
            best = (exact, thousandths);
        }
    }
    (best.1, best.0 == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_who_wants_json_and_a_stream_for_everyone_else() {
        for (accept, page) in [
            ("", false),
            ("*/*", false),
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/*", true),
            ("application/json, text/plain, */*", true),
            ("application/json, text/event-stream", true),
            ("text/event-stream, application/json;q=0.5", false),
            ("text/event-stream", false),
            ("text/event-stream, */*;q=0.1", false),
            ("text/event-stream;q=0, */*", true),
            ("application/json;q=0, */*", false),
            ("application/json;q=0", false),
            ("application/json ; Q=0.9 , text/event-stream ; q=0.8", true),
            ("application/json;q=nonsense", true),
            ("application/jsonl", false),
        ] {
            assert_eq!(prefers_json(accept), page, "{accept}");
        }
    }
}
