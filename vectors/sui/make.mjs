// Makes wallets.json with Sui's TypeScript SDK: `npm install @mysten/sui@VERSION`, then `node make.mjs > wallets.json`.
import { Ed25519Keypair } from "@mysten/sui/keypairs/ed25519";
import { Secp256k1Keypair } from "@mysten/sui/keypairs/secp256k1";
import { Secp256r1Keypair } from "@mysten/sui/keypairs/secp256r1";
import { toBase64 } from "@mysten/sui/utils";
import { decodeSuiPrivateKey } from "@mysten/sui/cryptography";

const messages = [
  new Uint8Array(0),
  new TextEncoder().encode("NAUTILUS"),
  Uint8Array.from({ length: 127 }, (_, i) => i),
  Uint8Array.from({ length: 128 }, (_, i) => 255 - i),
  Uint8Array.from({ length: 2_000 }, (_, i) => (i * 7) % 256),
];
const flags = { ED25519: 0, Secp256k1: 1, Secp256r1: 2 };
const wallets = [];
for (const [seed, Keypair] of [[7, Ed25519Keypair], [8, Secp256k1Keypair], [9, Secp256r1Keypair]]) {
  const pair = Keypair.fromSecretKey(new Uint8Array(32).fill(seed));
  const { scheme, secretKey } = decodeSuiPrivateKey(pair.getSecretKey());
  const signatures = [];
  for (const message of messages) {
    const { signature } = await pair.signPersonalMessage(message);
    signatures.push({ message: Buffer.from(message).toString("hex"), signature });
  }
  wallets.push({
    scheme,
    suiprivkey: pair.getSecretKey(),
    keystore: toBase64(Uint8Array.from([flags[scheme], ...secretKey])),
    address: pair.toSuiAddress(),
    signatures,
  });
}
console.log(JSON.stringify(wallets, null, 1));
