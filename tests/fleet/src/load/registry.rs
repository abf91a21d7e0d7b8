//! Who stands in a load's fleet, and the files from which an aggregator knows them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use windlass_fleet_model::Scenario;
use windlass_shared::catalogue::{self, Catalogue};

use super::FleetOptions;
use super::gateway::gateway_of;
use crate::generate::{read_scenario, sources_of_profiles};

/// Turbines of a farm where no scenario says otherwise.
const FARM_TURBINES: usize = 150;
const PROFILE: &str = "onshore-3mw";
const SEED: u64 = 1;

/// A fleet with its profiles.
pub struct Registry {
    /// Who stands where, and what happens.
    pub scenario: Scenario,
    /// Seed of weather, noise and sensors.
    pub seed: u64,
    /// The catalogues that the farms name.
    pub catalogues: Vec<Arc<Catalogue>>,
    /// Their files: name and text.
    profiles: Vec<(String, String)>,
}

impl Registry {
    /// The fleet that the options name.
    pub fn new(options: &FleetOptions) -> Result<Self> {
        let scenario = match &options.scenario {
            Some(path) => read_scenario(path)?,
            None => plain(options.turbines)?,
        };
        let mut catalogues = Vec::new();
        let mut profiles = Vec::new();
        for (path, text) in sources_of_profiles(options.profiles.as_deref(), &scenario)? {
            let text = changed(&path, &text, options)?;
            let catalogue = catalogue::parse(&path.display().to_string(), &text)?;
            profiles.push((format!("{}.toml", catalogue.name), text));
            catalogues.push(Arc::new(catalogue));
        }
        Ok(Self {
            seed: options.seed.unwrap_or(scenario.seed),
            scenario,
            catalogues,
            profiles,
        })
    }

    /// Writes `fleet.toml` and the profiles; gives the path of the former.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("could not make the folder {}", dir.display()))?;
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text)
                .with_context(|| format!("could not write {}", path.display()))?;
            Ok::<_, anyhow::Error>(path)
        };
        for (name, text) in &self.profiles {
            write(name, text)?;
        }
        write("fleet.toml", &self.text()?)
    }

    fn text(&self) -> Result<String> {
        let names: Vec<String> = self
            .profiles
            .iter()
            .map(|(n, _)| format!("{n:?}"))
            .collect();
        let mut text = format!("profiles = [{}]\n", names.join(", "));
        for farm in &self.scenario.farms {
            write!(
                text,
                "\n[[farm]]\nid = \"{0}\"\nname = \"{0}\"\ntimezone = \"{1}\"\n",
                farm.id, farm.zone
            )?;
        }
        for farm in &self.scenario.farms {
            for turbine in &farm.turbines {
                write!(
                    text,
                    "\n[[gateway]]\nid = \"{}\"\nfarm = \"{}\"\nturbines = [\"{turbine}\"]\n",
                    gateway_of(turbine)?,
                    farm.id
                )?;
            }
        }
        Ok(text)
    }
}

/// So many turbines in farms of their own weather.
fn plain(turbines: usize) -> Result<Scenario> {
    ensure!(
        (1..=super::TURBINES_MAX).contains(&turbines),
        "found --turbines {turbines}, expected 1 to {}",
        super::TURBINES_MAX
    );
    let mut text = format!("name = \"load\"\nseed = {SEED}\n");
    for (i, first) in (0..turbines).step_by(FARM_TURBINES).enumerate() {
        let n = FARM_TURBINES.min(turbines - first);
        let farm = i + 1;
        write!(
            text,
            "\n[[farm]]\nid = \"F{farm:02}\"\nzone = \"Europe/Berlin\"\nprofile = \"{PROFILE}\"\nturbines = {n}\n\
             prefix = \"F{farm:02}T\"\n"
        )?;
    }
    Ok(Scenario::parse("--turbines", &text)?)
}

/// A profile as the options want it: fewer channels, other periods.
fn changed(path: &Path, text: &str, options: &FleetOptions) -> Result<String> {
    if options.channels.is_none() && !options.every_second {
        return Ok(text.to_owned());
    }
    let mut profile: toml::Table =
        toml::from_str(text).with_context(|| format!("could not read {}", path.display()))?;
    let Some(channels) = profile.get_mut("channels").and_then(|c| c.as_array_mut()) else {
        bail!("{}: found no `channels`, expected a list", path.display());
    };
    if let Some(n) = options.channels {
        ensure!(
            (1..=channels.len()).contains(&n),
            "found --channels {n}, expected 1 to {}, the channels of {}",
            channels.len(),
            path.display()
        );
        channels.truncate(n);
    }
    if options.every_second {
        for channel in channels.iter_mut().filter_map(toml::Value::as_table_mut) {
            let periodic = |p: &toml::Value| p.as_str() != Some("on change");
            if channel.get("period").is_some_and(periodic) {
                channel.insert("period".into(), "1s".into());
            }
        }
    }
    Ok(toml::to_string(&profile)?)
}
