// A receiver built with other libraries: `standardwebhooks` verifies requests, and the CloudEvents SDK parses
// them. Prints its port, then one line of JSON for each event or error.

import { createServer } from "node:http";
import { gunzipSync } from "node:zlib";
import { HTTP } from "cloudevents";
import { Webhook } from "standardwebhooks";

const webhook = new Webhook(process.env.HOOK_SECRET);

function events(headers, body) {
    const text = (headers["content-encoding"] === "gzip" ? gunzipSync(body) : body).toString("utf8");
    webhook.verify(text, headers);
    if (headers["content-type"] === "application/json") {
        return [JSON.parse(text)].flat().map((data) => ({ data }));
    }
    return [HTTP.toEvent({ headers, body: text })].flat().map((event) => {
        event.validate();
        const { id, type, source, subject, time, sequence, partitionkey, data } = event;
        return { id, type, source, subject, time, sequence, partitionkey, data };
    });
}

const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) {
        chunks.push(chunk);
    }
    try {
        for (const event of events(request.headers, Buffer.concat(chunks))) {
            console.log(JSON.stringify(event));
        }
        response.writeHead(204).end();
    } catch (error) {
        console.log(JSON.stringify({ error: String(error) }));
        response.writeHead(401).end();
    }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
