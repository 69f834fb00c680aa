//! Prints the results of a run, as a table for people and as JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use crate::bench::ServersCpu;
use crate::figures::Series;

/// All results of a run.
#[derive(Default)]
pub(crate) struct Report {
    ratios: Vec<Measured>,
    costs: Vec<CostRow>,
    facts: Vec<Figure>,
    goals: Vec<Goal>,
}

/// A rate of payhook's beside the rate of an anchor, round by round.
#[derive(Clone, Serialize)]
pub(crate) struct Measured {
    what: String,
    anchor: String,
    ours_per_s: Series,
    anchor_per_s: Series,
    ratio: Series,
    #[serde(skip)]
    goal: Option<(&'static str, f64)>,
}

/// Processor time of one operation, in µs, by who spent it.
#[derive(Clone, Copy, Serialize)]
#[expect(clippy::struct_field_names, reason = "units stand last")]
pub(crate) struct Cost {
    pub(crate) own_us: f64,
    pub(crate) broker_us: f64,
    pub(crate) postgres_us: f64,
}

#[derive(Serialize)]
struct CostRow {
    what: String,
    who: &'static str,
    #[serde(flatten)]
    cost: Cost,
}

#[derive(Serialize)]
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
}

#[derive(Serialize)]
struct Goal {
    id: &'static str,
    what: String,
    value: f64,
    wanted: String,
    reached: bool,
}

impl Measured {
    pub(crate) fn new(what: String, ours: &Series, anchor: &str, theirs: &Series) -> Self {
        Self {
            what,
            anchor: anchor.to_owned(),
            ours_per_s: ours.clone(),
            anchor_per_s: theirs.clone(),
            ratio: ours.over(theirs),
            goal: None,
        }
    }

    pub(crate) fn goal(self, id: &'static str, at_least: f64) -> Self {
        Self { goal: Some((id, at_least)), ..self }
    }
}

impl Cost {
    pub(crate) fn new(own_s: f64, servers: ServersCpu, done: f64) -> Self {
        let us = |seconds: f64| seconds * 1e6 / done;
        Self { own_us: us(own_s), broker_us: us(servers.broker_s), postgres_us: us(servers.postgres_s) }
    }
}

impl Report {
    pub(crate) fn ratio(&mut self, measured: Measured) {
        if let Some((id, at_least)) = measured.goal {
            let value = measured.ratio.median();
            self.goals.push(Goal {
                id,
                what: format!("{} / {}", measured.what, measured.anchor),
                value,
                wanted: format!("≥ {at_least:.2}"),
                reached: value >= at_least,
            });
        }
        self.ratios.push(measured);
    }

    /// The median of each part over the rounds.
    pub(crate) fn cost(&mut self, what: &str, who: &'static str, rounds: &[Cost]) {
        let median = |part: fn(&Cost) -> f64| Series(rounds.iter().map(part).collect()).median();
        let cost = Cost {
            own_us: median(|cost| cost.own_us),
            broker_us: median(|cost| cost.broker_us),
            postgres_us: median(|cost| cost.postgres_us),
        };
        self.costs.push(CostRow { what: what.to_owned(), who, cost });
    }

    pub(crate) fn fact(&mut self, what: &str, value: f64, unit: &'static str) {
        self.facts.push(Figure { what: what.to_owned(), value, unit });
    }

    pub(crate) fn at_most(&mut self, id: &'static str, what: &str, value: f64, most: f64) {
        let wanted = format!("≤ {most}");
        self.goals.push(Goal { id, what: what.to_owned(), value, wanted, reached: value <= most });
    }

    pub(crate) fn json(&self, head: &[String]) -> serde_json::Value {
        json!({
            "run": head,
            "ratios": self.ratios.iter().map(|measured| json!({
                "rounds": measured,
                "ours_per_s": measured.ours_per_s.median(),
                "anchor_per_s": measured.anchor_per_s.median(),
                "ratio": measured.ratio.median(),
                "ratio_least": measured.ratio.least(),
                "ratio_most": measured.ratio.most(),
            })).collect::<Vec<_>>(),
            "cpu_us": self.costs,
            "facts": self.facts,
            "goals": self.goals,
        })
    }

    pub(crate) fn table(&self, head: &[String]) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, head);
        text
    }

    fn write(&self, to: &mut String, head: &[String]) -> std::fmt::Result {
        for line in head {
            writeln!(to, "{line}")?;
        }
        writeln!(to, "\n{:<44} {:>8}   {:<46} {:>8}   {:>5}  spread", "ours", "", "anchor", "", "ratio")?;
        for Measured { what, anchor, ours_per_s, anchor_per_s, ratio, .. } in &self.ratios {
            writeln!(
                to,
                "{what:<44} {:>8.0}   {anchor:<46} {:>8.0}   {:>5.2}  {:.2} to {:.2}",
                ours_per_s.median(),
                anchor_per_s.median(),
                ratio.median(),
                ratio.least(),
                ratio.most()
            )?;
        }
        if !self.costs.is_empty() {
            writeln!(
                to,
                "\n{:<44} {:<8} {:>8} {:>8} {:>10}",
                "processor time of one, µs", "", "itself", "broker", "PostgreSQL"
            )?;
        }
        for CostRow { what, who, cost } in &self.costs {
            let Cost { own_us, broker_us, postgres_us } = cost;
            writeln!(to, "{what:<44} {who:<8} {own_us:>8.0} {broker_us:>8.0} {postgres_us:>10.0}")?;
        }
        writeln!(to)?;
        for Figure { what, value, unit } in &self.facts {
            writeln!(to, "{what:<66} {value:>10.2} {unit}")?;
        }
        writeln!(to)?;
        for Goal { id, what, value, wanted, reached } in &self.goals {
            let word = if *reached { "reached" } else { "missed" };
            writeln!(to, "{word:<8} {id:<4} {value:>8.2} ({wanted})  {what}")?;
        }
        Ok(())
    }
}
