/**
 * Writes `.env.example` from the table of settings.
 *
 * @module
 */
import { envExample } from "../lib/settings.ts";

await Deno.writeTextFile(new URL("../.env.example", import.meta.url), envExample());
