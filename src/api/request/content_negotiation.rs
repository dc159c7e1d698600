//! Parses `Accept`: page of JSON or event stream.

/// Returns true if the client prefers a page of JSON to an event stream: in `accept` JSON has a
/// higher quality, or is named with the same one.
pub(crate) fn prefers_json(accept: &str) -> bool {
    let (json, named) = media_type_quality(accept, "application", "json");
    let (stream, _) = media_type_quality(accept, "text", "event-stream");
    json > stream || (named && json > 0 && json == stream)
}

/// Returns the quality of a media type in `accept`, in thousandths, and whether `accept` names that
/// type. The most specific range that covers it is used (RFC 9110, section 12.5.1).
fn media_type_quality(accept: &str, main_type: &str, subtype: &str) -> (u16, bool) {
    let mut best = (0, 0);
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let specificity = match name.split_once('/') {
            Some(("*", "*")) => 1,
            Some((range, "*")) if range.eq_ignore_ascii_case(main_type) => 2,
            Some((range, sub))
                if range.eq_ignore_ascii_case(main_type) && sub.eq_ignore_ascii_case(subtype) =>
            {
                3
            }
            _ => continue,
        };
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>().ok())
        });
        // A malformed quality is ignored; the default is 1.
        let quality =
            quality.flatten().filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(1.0);
        if specificity > best.0 {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
            let thousandths = (quality * 1000.0).round() as u16;
            best = (specificity, thousandths);
        }
    }
    (best.1, best.0 == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_preferred_only_if_accept_names_json_with_the_best_quality() {
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
