//! The scale curve: the same measurements with more and more users, written to `docs/performance` as JSON, and from
//! there to a table and charts.
//!
//! What does not belong here: targets. A curve shows how a figure changes, on one machine.

mod chart;
mod conditions;
mod document;
mod measure;
mod metric;
mod panel;
mod point;

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use self::conditions::Conditions;
use self::document::Document;
use self::measure::measure;
use crate::error::BenchError;
use crate::scratch::{ScratchDatabases, StoreKind};

/// Measures with more and more users, and writes table and charts.
#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    /// Numbers of users
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000,1000000")]
    #[arg(value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    users: Vec<u64>,
    /// The document whose table is replaced; figures and charts are in a folder of the same name beside it. Figures of
    /// other numbers of users and other stores stay
    #[arg(long, default_value = "docs/performance.md")]
    document: PathBuf,
    /// Measure nothing: render the figures that are there
    #[arg(long)]
    render: bool,
}

/// Measures one number of users after the other on each store; returns what is printed.
pub(crate) async fn run(
    arguments: &ScaleArguments,
    sites: &[(StoreKind, Result<ScratchDatabases, String>)],
    stop: &CancellationToken,
    report: &(dyn Fn(&str) + Sync),
) -> Result<String, BenchError> {
    let document = Document::new(&arguments.document);
    let mut points = document.points()?;
    if !arguments.render {
        for (store, site) in sites {
            let scratch = site.as_ref().map_err(BenchError::invalid)?;
            for users in &arguments.users {
                report(&format!("measuring {users} users on {}", store.as_str()));
                let point = measure(*users, scratch, Conditions::now().await, stop).await?;
                points.retain(|other| (other.store, other.users) != (point.store, point.users));
                points.push(point);
                points.sort_by_key(|point| (point.store, point.users));
                // After each, so that an interruption loses one.
                document.write(&points)?;
            }
        }
    }
    document.write(&points)?;
    Ok(document::table(&points))
}
