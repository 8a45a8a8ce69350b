// What this program needs of Node's types.
declare const process: { argv: string[] };
