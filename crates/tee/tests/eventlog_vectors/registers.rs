//! What the logs' registers must be, from other tools, and some of what their events must say.
//!
//! PCRs are what `tpm2_eventlog` of tpm2-tools 5.4 prints under `pcrs`. RTMRs were computed by extending every
//! digest of the log, `SHA-384(register ‖ digest)` from 48 zero bytes, with Python's `hashlib`; the same program
//! gives the PCRs that `tpm2_eventlog` gives.

/// Registers by index, in hex.
pub type Registers = &'static [(u32, &'static str)];

/// PCRs of `debian-10.bin`, bank `sha1`.
pub const DEBIAN_10: Registers = &[
    (0, "0f2d3a2a1adaa479aeeca8f5df76aadc41b862ea"),
    (1, "b1676439cac1531683990fefe2218a43239d6fe8"),
    (2, "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236"),
    (3, "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236"),
    (4, "1eb30816474a3f144e99b24e4ad480b2e51fd9e1"),
    (5, "019079179dbc0eb5992c500dcf8a095910ac590d"),
    (6, "b2a83b0ebf2f8374299a5b2bdfc31ea955ad7236"),
    (7, "9e6c57e850f371c2a7fe02bca552149363952318"),
];
/// PCRs of `ubuntu-2404-amd-sevsnp.bin`, bank `sha256`.
pub const UBUNTU_2404: Registers = &[
    (
        0,
        "50597a27846e91d025eef597abbc89f72bff9af849094db97b0684d8bc4c515e",
    ),
    (
        1,
        "57344e1cc8c6619413df33013a7cd67915459f967395af41db21c1fa7ca9c307",
    ),
    (
        2,
        "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    ),
    (
        3,
        "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    ),
    (
        4,
        "abe8b3fa6aecb36c2fd93c6f6edde661c21b353d007410a2739d69bfa7e1b9be",
    ),
    (
        5,
        "0b0e1903aeb1bff649b82dba2cdcf5c4ffb75027e54f151ab00b3b989f16a300",
    ),
    (
        6,
        "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969",
    ),
    (
        7,
        "33ad69850fb2c7f30b4f8b4bc10ed93fc954dc07fa726e84f50f3d192dc1c140",
    ),
    (
        8,
        "6932a3f71dc55ad3c1a6ac2196eeac26a1b7164b6bbfa106625d94088ec3ecc3",
    ),
    (
        9,
        "ce08798b283c7a0ddc5e9ad1d602304b945b741fc60c20e254eafa0f4782512b",
    ),
    (
        14,
        "306f9d8b94f17d93dc6e7cf8f5c79d652eb4c6c4d13de2dddc24af416e13ecaf",
    ),
];
/// Measurement registers of `CCEL_data_ovmf` by the index in the log.
pub const CCEL_OVMF: Registers = &[
    (
        1,
        "8566f998798db09443b244c62de9a3041fb02e2e6936c4396d784bba2e90177329ec5aba3bb484404f2ab9cc90abe193",
    ),
    (
        2,
        "775b9f6bfe99f8a31396f0d0218e67ffa796d3b96ccf961cbb0deba48c79c00f082cda1a5567c1c16305f1fc210c13c6",
    ),
    (
        3,
        "94eaf7a7bf398ed8d888c91057ae0261802e4f3df084213a76ca7f0b5055ac9d2241de43cd58d9e8b49c503bbf25f34a",
    ),
];
/// Measurement registers of `CCEL_data_grub` by the index in the log.
pub const CCEL_GRUB: Registers = &[
    (
        1,
        "cec0a104f691f60da2387fea3c2de00c4ac035e2bb479ff02edcce69039d9e9907f0b3e55031da3dc7038f423adebd79",
    ),
    (
        2,
        "6c289e0c62182d41ebe97bdbc9872d10998a08eaa86adcdc684001a363207ee72942c7522cdf00a4bbc3d784bed7b670",
    ),
    (
        3,
        "08919d017ba0e52cd6d966351c7de16fe76c1d3d3d3da4554239e4c7d16cb8b82a94e7eaea3a0e6e18eb690b999fd31e",
    ),
];
/// Measurement registers of `CCEL_AAEL_alibabacloud` by the index in the log.
pub const CCEL_AAEL: Registers = &[
    (
        1,
        "b796e1c11396c198ae88794def4cb8e24fa9b35468287c298087f00d4de7433e4e31a297a4e5a03d4300fa6f3a96d47c",
    ),
    (
        2,
        "3b0b906140fcea689c8774ac1eafcf0fef8e22ba81a047fd750ebd7df3235c2704df6106a758e31e5645e9838ff37406",
    ),
    (
        3,
        "35f2801338c1b5fce96518f058c37e0fe9ed247a12dcd5f50d9c18fe4b6c71311bb63fca2640c7915817b6aa412a8480",
    ),
    (
        4,
        "5e4ecd49d3c7983d6f9ca36755b5cee0b423d7fa8c5a88aeb0681bd4698772bc37b4463dc5f722efe352a66417257dad",
    ),
];

/// What some of the events say: register, type and detail.
pub const LINES: &[(&str, &str)] = &[];
