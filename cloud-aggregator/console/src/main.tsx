// Starts the console.

import { render } from "preact";
import { App } from "./app.tsx";
import { start as startFleet } from "./state/fleet.ts";
import { listen } from "./state/route.ts";
import { start as startServer } from "./state/server.ts";
import "./style.css";

startServer();
startFleet();
listen();
const root = document.getElementById("app");
if (root) render(<App />, root);
