//! Every family of metrics that the program knows, by the names of its series.

use std::collections::HashMap;
use std::sync::LazyLock;

use nautilus_monitor::{Family, aggregate, custom, data, panel};
use nautilus_proof::CollectorKind;

/// A family, and whose it is.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) family: &'static Family,
    pub(super) part: CollectorKind,
    /// Whose gaps are gaps of it; none if the agent itself measures it.
    pub(super) collector: Option<CollectorKind>,
}

static KNOWN: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(|| {
    let collected: [(CollectorKind, &[&'static Family]); 5] = [
        (CollectorKind::System, data::system::FAMILIES),
        (CollectorKind::Container, data::container::FAMILIES),
        (CollectorKind::Network, data::network::FAMILIES),
        (CollectorKind::Security, data::security::FAMILIES),
        (CollectorKind::Custom, data::custom::FAMILIES),
    ];
    let known = |family: &'static Family, part, collector| Known {
        family,
        part,
        collector,
    };
    let collected = collected.into_iter().flat_map(|(part, families)| {
        let families = families.iter();
        families.map(move |family| known(family, part, Some(part)))
    });
    let own = panel::FAMILIES.iter().chain(aggregate::FAMILIES);
    let own = own.map(|family| known(family, CollectorKind::System, None));
    let all = collected.chain(own);
    all.map(|known| (&*known.family.name, known)).collect()
});

/// The family that a series is of; none if others gave it.
pub(super) fn of(series: &str) -> Option<Known> {
    KNOWN.get(family_name(series)).copied()
}

/// Decimal places of a series' integers.
pub(super) fn places(series: &str) -> u8 {
    of(series).map_or_else(
        || custom::places_of(family_name(series)),
        |known| known.family.places,
    )
}

/// The family's name in that of a series.
pub(super) fn family_name(series: &str) -> &str {
    series.split_once('{').map_or(series, |(family, _)| family)
}
