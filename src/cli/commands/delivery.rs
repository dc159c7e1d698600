//! `dossierd delivery list|retry|drop`: how events are delivered, and what was refused for good.

use std::io::Write as _;

use crate::cli::args::{DaemonArgs, DeadLetterArgs, DeliveryArgs, DeliveryCommand};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::exit::CommandExit;
use crate::cli::render::{output, table};
use crate::client::RequestPath;
use crate::core::path::escape_unprintable;
use crate::core::time::Timestamp;
use crate::wire::delivery::{
    DeadLetterRequest, DeadLetterResponse, DeliveryList, DeliveryState, SinkStatus,
};

pub(crate) fn run(args: &DeliveryArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        DeliveryCommand::List(args) => list(args),
        DeliveryCommand::Retry(args) => {
            update_dead_letters(args, "/api/delivery/retry", "will be delivered once more")
        }
        DeliveryCommand::Drop(args) => update_dead_letters(args, "/api/delivery/drop", "forgotten"),
    }
}

fn list(args: &DaemonArgs) -> anyhow::Result<CommandExit> {
    let answer =
        DaemonConnection::connect(&args.socket)?.get(&RequestPath::new("/api/delivery"))?;
    if args.json {
        output::print_body(&answer.body)?;
        return Ok(CommandExit::Success);
    }
    let list: DeliveryList<'_> = answer.parse()?;
    let mut out = output::stdout_human();
    out.write_all(format_list(&list).as_bytes())?;
    out.flush()?;
    Ok(CommandExit::Success)
}

fn update_dead_letters(
    args: &DeadLetterArgs,
    address: &str,
    done: &str,
) -> anyhow::Result<CommandExit> {
    let ids = (!args.all).then(|| args.events.clone());
    let body = serde_json::to_vec(&DeadLetterRequest { ids, all: args.all })?;
    let answer =
        DaemonConnection::connect(&args.daemon.socket)?.post(&RequestPath::new(address), body)?;
    if args.daemon.json {
        output::print_body(&answer.body)?;
        return Ok(CommandExit::Success);
    }
    let DeadLetterResponse { events } = answer.parse()?;
    let what = if events == 1 { "event" } else { "events" };
    output::note(&format!("{events} {what} {done}"));
    Ok(CommandExit::Success)
}

fn format_list(list: &DeliveryList<'_>) -> String {
    if list.sinks.is_empty() && list.dead_letters.is_empty() {
        return "events are delivered nowhere; name a `webhook` in the configuration\n".to_owned();
    }
    let mut text: String = list.sinks.iter().map(format_sink).collect();
    if !list.dead_letters.is_empty() {
        let mut rows =
            table::with_headings(&["EVENT", "SEQ", "FEATURE", "TYPE", "TRIES", "REFUSED", "WHY"]);
        for event in &list.dead_letters {
            let kind = event.event_type.trim_start_matches("mission_dossier_");
            let again = if event.retrying { " (tried again)" } else { "" };
            rows.add_row([
                escape_unprintable(&event.event_id),
                event.seq.to_string().into(),
                escape_unprintable(&event.feature_slug),
                escape_unprintable(kind),
                event.tries.to_string().into(),
                event.refused_at.to_string().into(),
                format!("{}{again}", escape_unprintable(&event.error)).into(),
            ]);
        }
        text.push('\n');
        text.push_str(&table::render(rows));
    }
    text
}

fn format_sink(sink: &SinkStatus<'_>) -> String {
    let state = match sink.state {
        DeliveryState::Ok => "ok",
        DeliveryState::Retrying => "retrying",
        DeliveryState::DeadLetters => "set aside",
    };
    let at = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    let mut text = format!(
        "{} to {}: {state}\n",
        escape_unprintable(&sink.sink),
        escape_unprintable(&sink.url)
    );
    let mut line = |name: &str, value: String| {
        if !value.is_empty() && value != "0" {
            text.push_str(&format!("  {name}: {value}\n"));
        }
    };
    line("undelivered", sink.lag.to_string());
    line("oldest", at(sink.oldest_undelivered_at));
    line(
        "last error",
        sink.last_error.as_deref().map(escape_unprintable).unwrap_or_default().to_string(),
    );
    line("next try", at(sink.next_try_at));
    line("set aside", sink.dead_letters.to_string());
    line("dropped by the journal's retention", sink.dropped_by_retention.to_string());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::delivery::DeadLetterEvent;

    #[test]
    fn it_says_what_a_person_has_to_know() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let sink = SinkStatus {
            sink: "webhook".into(),
            url: "https://example.org/…".into(),
            cursor: 5,
            lag: 3,
            oldest_undelivered_at: at,
            state: DeliveryState::Retrying,
            last_error: Some("answered 500 \u{1b}[31m".into()),
            next_try_at: at,
            dead_letters: 1,
            dropped_by_retention: 2,
        };
        let event = DeadLetterEvent {
            sink: "webhook".into(),
            event_id: "01HF7YAT00CHF7R06RJVWGENCH".into(),
            seq: 4,
            event_type: "mission_dossier_artifact_indexed".into(),
            root_id: "00ff".into(),
            feature_slug: "001-a".into(),
            tries: 5,
            refused_at: at.unwrap(),
            error: "answered 400 Bad Request".into(),
            retrying: true,
        };
        let list = DeliveryList { sinks: vec![sink], dead_letters: vec![event] };
        let shown = anstream::adapter::strip_str(&format_list(&list)).to_string();
        insta::assert_snapshot!(shown, @r"
        webhook to https://example.org/…: retrying
          undelivered: 3
          oldest: 2023-11-14T22:13:20.000Z
          last error: answered 500 \u{1b}[31m
          next try: 2023-11-14T22:13:20.000Z
          set aside: 1
          dropped by the journal's retention: 2

        EVENT                       SEQ  FEATURE  TYPE              TRIES  REFUSED                   WHY
        01HF7YAT00CHF7R06RJVWGENCH  4    001-a    artifact_indexed  5      2023-11-14T22:13:20.000Z  answered 400 Bad Request (tried again)
        ");
        let none = DeliveryList { sinks: Vec::new(), dead_letters: Vec::new() };
        assert!(format_list(&none).starts_with("events are delivered nowhere"));
    }
}
