// The page that a one-time link leads to: stores the key of the new session and loads the dashboard.

import { storeKey, takeResumePoint } from "./session.js";

storeKey(document.querySelector("meta[name='dossierd-session']").content);
location.replace(`/${takeResumePoint(location.hash)}`);
