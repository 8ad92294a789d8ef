"""When a suggestion is accepted: frozen policies, distances, equivalent texts, calibration (section 3.5)."""
