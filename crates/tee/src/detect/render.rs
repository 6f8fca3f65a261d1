//! A detection as text for a person.

use super::{Detection, TeeReport};

/// The verdict first, then one paragraph per TEE: headline, checks, remedies, notes.
pub(super) fn render(detection: &Detection) -> String {
    let mut lines = vec![match detection.preferred() {
        Some(kind) => format!("preferred: {kind}"),
        None => {
            "preferred: none. No hardware TEE is usable here; the simulated one is never chosen by itself."
                .to_owned()
        }
    }];
    for tee in detection.tees() {
        lines.push(String::new());
        paragraph(tee, &mut lines);
    }
    lines.push(String::new());
    lines.join("\n")
}

fn paragraph(tee: &TeeReport, lines: &mut Vec<String>) {
    lines.push(format!("{:<10} {}", tee.kind().as_str(), tee.status().as_str()));
    for check in tee.checks() {
        let outcome = check.outcome.as_str();
        lines.push(format!(
            "  {outcome:<10} {}: {} ({})",
            check.what, check.source, check.detail
        ));
    }
    for missing in tee.missing() {
        lines.push(format!("  missing    {}", missing.what));
        lines.push(format!("             to get it: {}", missing.how_to_get_it));
    }
    for note in tee.notes() {
        lines.push(format!("  note       {note}"));
    }
}
