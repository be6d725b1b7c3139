//! The command-line tool: a thin user of the library.

// As in the library.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bench;
mod captions;
mod common;
mod embed;
mod eval;
mod fingerprint;
mod index;
mod info;
mod library;
mod many;
mod metrics;
mod output;
mod pool;
mod search;
mod selftest;
mod walk;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Find videos by words: text and video embeddings with CLIP4Clip.
#[derive(Parser)]
#[command(name = "c4c", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What a checkpoint is, and what is missing or superfluous in it. Exits with 1 when it cannot be used.
    Info(info::Args),
    /// Vectors of videos or of texts, as npy, JSON lines or raw floats.
    Embed(embed::Args),
    /// Embeds every video below a folder into an index; resumes where it was stopped, and skips what has not changed.
    Index(index::Args),
    /// The videos of an index, or the parts of long ones, that fit words best.
    Search(search::Args),
    /// How well a model finds a set's videos by its captions: R@1, R@5, R@10, median and mean rank, both ways.
    Eval(eval::Args),
    /// How fast this machine embeds.
    Bench(bench::Args),
    /// Whether this machine computes what it should.
    Selftest(selftest::Args),
}

fn main() -> ExitCode {
    let command = Arguments::parse().command;
    let outcome = match &command {
        Command::Info(args) => info::run(args),
        Command::Embed(args) => embed::run(args),
        Command::Index(args) => index::run(args),
        Command::Search(args) => search::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Selftest(args) => selftest::run(args),
    };
    match outcome {
        Ok(code) => code,
        Err(failure) if failure.is_closed_pipe() => match command {
            // What they are for is not what they print.
            Command::Index(_) | Command::Selftest(_) => {
                common::tell("nobody reads the output any more; the command was not done with its work");
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        },
        Err(failure) => {
            common::tell(failure);
            ExitCode::FAILURE
        }
    }
}
