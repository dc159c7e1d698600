//! The body of a status response, without what always differs.

/// Returns what precedes and follows the uptime of the daemon, which always differs.
pub(crate) fn without_uptime(body: &[u8]) -> [&[u8]; 2] {
    const NAME: &[u8] = b"\"uptime_s\":";
    let Some(at) = body.windows(NAME.len()).position(|part| part == NAME) else {
        return [body, &[]];
    };
    let (before, rest) = body.split_at(at);
    // Another field follows it.
    let end = rest.iter().position(|byte| *byte == b',').map_or(rest.len(), |comma| comma + 1);
    [before, &rest[end..]]
}

#[cfg(test)]
mod tests {
    use super::without_uptime;

    #[test]
    fn without_uptime_leaves_out_the_uptime_alone() {
        let body =
            |uptime: u32, seq: u32| format!("{{\"a\":1,\"uptime_s\":{uptime},\"seq\":{seq}}}");
        let (first, later, changed) = (body(9, 1), body(10, 1), body(10, 2));
        assert_eq!(without_uptime(first.as_bytes()), without_uptime(later.as_bytes()));
        assert_ne!(without_uptime(first.as_bytes()), without_uptime(changed.as_bytes()));
        assert_eq!(without_uptime(first.as_bytes()).concat(), b"{\"a\":1,\"seq\":1}");
        assert_eq!(without_uptime(b"{}").concat(), b"{}");
    }
}
