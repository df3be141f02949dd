// A browser with people in it, and what they do in the shop.

import { createServer, request as ask } from 'node:http';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { chromium } from 'playwright-core';

export const shops = {
  memory: process.env.SHOP,
  file: process.env.SHOP_ON_FILES,
  cookie: process.env.SHOP_IN_COOKIE,
  insecure: process.env.SHOP_WITHOUT_TLS,
};
export const COOKIE = '__Host-sid';
export const PHONE = { width: 390, height: 844 };
export const DESK = { width: 1280, height: 800 };

const options = {
  executablePath: '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
  // Playwright turns off what keeps a page alive behind the back button; people's browsers have it on.
  ignoreDefaultArgs: ['--disable-back-forward-cache'],
};

export const open = () => chromium.launch(options);

/** Opens a browser that ends with the file's tests. */
export async function launch() {
  const browser = await open();
  after(() => browser.close());
  return browser;
}

/** Opens a browser on a profile of its own, which is there again when it has been closed. */
export async function profile() {
  const folder = await mkdtemp(join(tmpdir(), 'storefront-profile-'));
  after(() => rm(folder, { recursive: true, force: true }));
  return () => chromium.launchPersistentContext(folder, options);
}

/** Returns a new person: cookies and cache of their own, and one tab that is at the shop. */
export async function visit(browser, shop, more = {}) {
  const context = await browser.newContext({ viewport: DESK, ...more });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  await page.goto(`${shop}/`);
  return page;
}

export async function addToCart(page, product) {
  await page.getByRole('button', { name: `Add to cart ${product}` }).click();
  await page.getByRole('status').filter({ hasText: `${product} added to your cart.` }).waitFor();
}

export async function signIn(page, name) {
  await page.getByRole('link', { name: 'Sign in' }).first().click();
  await page.getByLabel('Name').fill(name);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('status').filter({ hasText: `Welcome, ${name}.` }).waitFor();
}

export async function signOut(page) {
  await page.getByRole('banner').getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('status').filter({ hasText: 'You are signed out.' }).waitFor();
}

/** Returns the session as the server sees it for this browser: values, owner. */
export async function session(page) {
  return (await page.context().request.get(new URL('/api/session', page.url()).href)).json();
}

/** Returns the session cookies that the browser holds for the shop. */
export async function cookies(page, name = COOKIE) {
  return (await page.context().cookies()).filter((cookie) => cookie.name === name);
}

/** Answers on a free port of 127.0.0.1 until the test ends; returns the port. */
export async function serve(handle) {
  const server = createServer(handle).listen(0, '127.0.0.1');
  await new Promise((listening) => server.once('listening', listening));
  after(() => (server.closeAllConnections(), server.close()));
  return server.address().port;
}

/**
 * Stands before a shop, tells `seen` of each request, and waits for `ready` between a form's head and its body.
 *
 * The storefront's layer has loaded the session when the handler asks for the body, and that is when the server says
 * `100 Continue`.
 */
export function before(shop, { seen = () => {}, ready = async () => {} }) {
  const { hostname, port } = new URL(shop);
  return serve((request, response) => {
    seen(request);
    const { method, url: path } = request;
    const hasBody = method === 'POST';
    const headers = { ...request.headers, ...(hasBody ? { expect: '100-continue' } : {}) };
    const onward = ask({ hostname, port, method, path, headers, agent: false });
    onward.on('response', (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      // A form that is refused unread is never asked to go on.
      answer.pipe(response).on('close', () => onward.destroy());
    });
    onward.on('error', () => response.destroy());
    if (!hasBody) return onward.end();
    onward.on('continue', async () => (await ready(), request.pipe(onward)));
    onward.flushHeaders();
  });
}
