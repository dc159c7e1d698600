//! `dossierd delivery list|retry|drop`: shows event delivery and handles dead letters.

use std::io::Write as _;

use crate::cli::args::{DaemonArgs, DeadLetterArgs, DeliveryArgs, DeliveryCommand};
use crate::cli::daemon::connection::DaemonConnection;
use crate::cli::exit::CommandExit;
use crate::cli::render::{output, table, time_text};
use crate::client::RequestPath;
use crate::core::event::EVENT_TYPE_PREFIX;
use crate::core::path::escape_unprintable;
use crate::core::time::Timestamp;
use crate::wire::delivery::{
    DeadLetterRequest, DeadLetterResponse, DeliveryList, DeliveryState, SinkStatus,
};

pub(crate) fn run(args: &DeliveryArgs) -> anyhow::Result<CommandExit> {
    match &args.command {
        DeliveryCommand::List(args) => list(args),
        DeliveryCommand::Retry(args) => {
            update_dead_letters(args, "/api/delivery/retry", "will be sent again")
        }
        DeliveryCommand::Drop(args) => update_dead_letters(args, "/api/delivery/drop", "deleted"),
    }
}

fn list(args: &DaemonArgs) -> anyhow::Result<CommandExit> {
    let response =
        DaemonConnection::connect(&args.socket)?.get(&RequestPath::new("/api/delivery"))?;
    if args.json {
        output::print_body(&response.body)?;
        return Ok(CommandExit::Success);
    }
    let list: DeliveryList<'_> = response.parse()?;
    let mut out = output::stdout_human();
    out.write_all(format_list(&list).as_bytes())?;
    out.flush()?;
    Ok(CommandExit::Success)
}

fn update_dead_letters(
    args: &DeadLetterArgs,
    path: &str,
    result: &str,
) -> anyhow::Result<CommandExit> {
    let ids = (!args.all).then(|| args.events.clone());
    let body = serde_json::to_vec(&DeadLetterRequest { ids, all: args.all })?;
    let response =
        DaemonConnection::connect(&args.daemon.socket)?.post(&RequestPath::new(path), body)?;
    if args.daemon.json {
        output::print_body(&response.body)?;
        return Ok(CommandExit::Success);
    }
    let DeadLetterResponse { events } = response.parse()?;
    let noun = if events == 1 { "event" } else { "events" };
    output::note(&format!("{events} {noun} {result}"));
    Ok(CommandExit::Success)
}

fn format_list(list: &DeliveryList<'_>) -> String {
    if list.sinks.is_empty() && list.dead_letters.is_empty() {
        return "no sinks; set `webhook` in the configuration to deliver events\n".to_owned();
    }
    let mut text: String = list.sinks.iter().map(format_sink).collect();
    if !list.dead_letters.is_empty() {
        let mut rows =
            table::with_headings(&["EVENT", "SEQ", "FEATURE", "TYPE", "TRIES", "REFUSED", "ERROR"]);
        for event in &list.dead_letters {
            let event_type = event.event_type.trim_start_matches(EVENT_TYPE_PREFIX);
            let retrying = if event.retrying { " (retrying)" } else { "" };
            rows.add_row([
                escape_unprintable(&event.event_id),
                event.seq.to_string().into(),
                escape_unprintable(&event.feature_slug),
                escape_unprintable(event_type),
                event.tries.to_string().into(),
                time_text::recent(event.refused_at).into(),
                format!("{}{retrying}", output::printable(&event.error)).into(),
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
        DeliveryState::Refused => {
            "refused: no receiver at the address for an hour; correct `webhook.url`, or run `dossierd \
             delivery retry --all`"
        }
        DeliveryState::DeadLetters => "dead letters",
    };
    let at = |time: Option<Timestamp>| time.map(time_text::recent).unwrap_or_default();
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
    let shown = |text: Option<&str>| text.map(escape_unprintable).unwrap_or_default().to_string();
    line("receiver", shown(sink.address.as_deref()));
    line("undelivered", sink.lag.to_string());
    line("oldest", at(sink.oldest_undelivered_at));
    line("last error", shown(sink.last_error.as_deref()));
    line("next try", at(sink.next_try_at));
    line("dead letters", sink.dead_letters.to_string());
    line("dropped by retention", sink.dropped_by_retention.to_string());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::delivery::DeadLetterEvent;

    #[test]
    fn format_list_shows_sinks_and_dead_letters() {
        let at = Timestamp::from_millis(1_700_000_000_000);
        let sink = SinkStatus {
            sink: "webhook".into(),
            url: "https://example.org/…".into(),
            address: Some("192.0.2.1:443".into()),
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
          receiver: 192.0.2.1:443
          undelivered: 3
          oldest: 2023-11-14T22:13:20.000Z
          last error: answered 500 \u{1b}[31m
          next try: 2023-11-14T22:13:20.000Z
          dead letters: 1
          dropped by retention: 2

        EVENT                       SEQ  FEATURE  TYPE              TRIES  REFUSED                   ERROR
        01HF7YAT00CHF7R06RJVWGENCH  4    001-a    artifact_indexed  5      2023-11-14T22:13:20.000Z  answered 400 Bad Request (retrying)
        ");
        let none = DeliveryList { sinks: Vec::new(), dead_letters: Vec::new() };
        assert!(format_list(&none).starts_with("no sinks"));
    }
}
