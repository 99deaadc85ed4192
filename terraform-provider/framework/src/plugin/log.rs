//! Log lines as Terraform wants them: one JSON object per line on stderr, which it merges into its own log.
//!
//! Terraform decides by the environment what it wants to see: `TF_LOG_PROVIDER_<NAME>`, else `TF_LOG_PROVIDER`, else
//! `TF_LOG`. Without any of them nothing is written.

use serde_json::{Map, Value};
use std::fmt;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// Sends events of this process to Terraform.
pub(crate) fn install(provider: &str, variable: impl Fn(&str) -> Option<String>) {
    let subscriber =
        TerraformLog { level: wanted_level(provider, variable), module: format!("provider.{provider}") };
    // Only one process-wide subscriber is possible; a test that runs this twice keeps the first.
    drop(tracing::subscriber::set_global_default(subscriber));
}

fn wanted_level(provider: &str, variable: impl Fn(&str) -> Option<String>) -> LevelFilter {
    let own = format!("TF_LOG_PROVIDER_{}", provider.to_uppercase().replace('-', "_"));
    let names = [own.as_str(), "TF_LOG_PROVIDER", "TF_LOG"];
    let Some(level) = names.iter().find_map(|name| variable(name).filter(|v| !v.is_empty())) else {
        return LevelFilter::OFF;
    };
    match level.to_uppercase().as_str() {
        "OFF" => LevelFilter::OFF,
        "ERROR" => LevelFilter::ERROR,
        "WARN" => LevelFilter::WARN,
        "INFO" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        // TRACE, JSON, and whatever Terraform itself would read as "everything".
        _ => LevelFilter::TRACE,
    }
}

struct TerraformLog {
    level: LevelFilter,
    module: String,
}

impl Subscriber for TerraformLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The transport below us tells every frame; that is for its own authors.
        let is_transport =
            ["h2", "hyper", "tower", "tonic", "rustls"].iter().any(|t| metadata.target().starts_with(t));
        *metadata.level() <= self.level && (!is_transport || *metadata.level() <= Level::WARN)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = Map::new();
        event.record(&mut Fields(&mut line));
        let message = line.remove("message").unwrap_or_default();
        line.insert("@level".to_owned(), event.metadata().level().to_string().to_lowercase().into());
        line.insert("@message".to_owned(), message);
        line.insert("@module".to_owned(), self.module.as_str().into());
        line.insert("@timestamp".to_owned(), timestamp(now).into());
        // Nobody to tell if stderr is gone.
        drop(writeln!(std::io::stderr().lock(), "{}", Value::Object(line)));
    }

    // Spans carry nothing that Terraform could show.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}

/// `2026-01-31T23:59:59.000001Z`. Terraform reads the line as plain text unless there are six digits after the point.
fn timestamp(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // Days to civil date, in the calendar that starts on 1 March 0000, where leap days come last (public algorithm of
    // H. Hinnant).
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let micros = since_epoch.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: dates around leap days are right, and there are always six digits of microseconds.
    #[test]
    fn timestamps_are_civil() {
        let at = |seconds, micros: u32| timestamp(Duration::new(seconds, micros * 1000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(at(1_709_251_199, 999_999), "2024-02-29T23:59:59.999999Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }

    /// Goal: the most special variable wins, and silence is the rule.
    #[test]
    fn level_follows_the_environment() {
        let level = |set: &[(&str, &str)]| {
            wanted_level("iron-bay", |n| set.iter().find(|(k, _)| *k == n).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(level(&[]), LevelFilter::OFF);
        assert_eq!(level(&[("TF_LOG", "json")]), LevelFilter::TRACE);
        assert_eq!(level(&[("TF_LOG", "trace"), ("TF_LOG_PROVIDER", "warn")]), LevelFilter::WARN);
        assert_eq!(
            level(&[("TF_LOG_PROVIDER", "warn"), ("TF_LOG_PROVIDER_IRON_BAY", "off")]),
            LevelFilter::OFF
        );
    }
}
