//! Event logs of the firmware: TCG (TPM) and CCEL (TDX, CCA).
