//! `features list`: what the project declares.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;
use tastemaker_server::{FeaturesResponse, list_features};

use crate::context::Context;
use crate::output::{Report, table, write_table};

/// List every feature that the project declares, and the feature services
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  tastemaker features list")]
pub(crate) struct Args {}

#[derive(Serialize)]
#[serde(transparent)]
struct List(FeaturesResponse);

impl Report for List {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut listed = table(["feature", "type", "source", "view", "ttl", "what"], [false; 6]);
        for feature in &self.0.features {
            listed.add_row([
                format!("{}.{}", feature.entity, feature.name),
                feature.value_type.clone(),
                feature.source.clone(),
                feature.view.clone(),
                feature.ttl.clone().unwrap_or_default(),
                feature.description.clone().unwrap_or_default(),
            ]);
        }
        write_table(out, &listed)?;
        for service in &self.0.feature_services {
            writeln!(out, "service {}: {}", service.name, service.features.join(", "))?;
        }
        Ok(())
    }
}

pub(crate) fn run(_: &Args, context: &Context) -> Result<()> {
    Ok(context.output.print(&List(list_features(&context.load()?.config)?))?)
}
