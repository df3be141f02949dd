// The pages themselves: what a person sees, hears and reaches by keyboard.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { DESK, PHONE, launch, shops, visit } from './support.js';
import { tour } from './tour.js';

const browser = await launch();
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

for (const [viewport, colorScheme] of [[PHONE, 'light'], [DESK, 'dark'], [{ width: 320, height: 640 }, 'dark']]) {
  test(`no page is wider than ${viewport.width}, hard to read or to use: ${colorScheme}`, async () => {
    await tour(browser, shops.memory, { viewport, colorScheme }, async (page, name) => {
      const { scrollWidth, clientWidth } = await page.evaluate(() => ({
        scrollWidth: document.documentElement.scrollWidth,
        clientWidth: document.documentElement.clientWidth,
      }));
      assert.ok(scrollWidth <= clientWidth, `${name} is ${scrollWidth} wide`);
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run());
      const found = violations.flatMap(({ help, nodes }) => nodes.map(({ html }) => `${help}: ${html}`));
      assert.deepEqual(found, [], name);
    });
  });
}

test('the browser has nothing to complain of', async () => {
  const said = [];
  await tour(browser, shops.memory, {}, (page) => {
    if (page.listenerCount('console') > 0) return;
    page.on('console', (message) => said.push(message.text()));
    page.on('request', (request) => request.url().startsWith(shops.memory) || said.push(`${request.url()} is foreign`));
  });
  assert.deepEqual(said, ['Failed to load resource: the server responded with a status of 404 (Not Found)']);
});

test('a keyboard is enough to fill a cart', async () => {
  const page = await visit(browser, shops.memory);
  await page.keyboard.press('Tab');
  const skip = page.getByRole('link', { name: 'Skip to the content' });
  await skip.and(page.locator(':focus')).waitFor();
  assert.ok((await skip.boundingBox()).y >= 0, 'the link to the content shows itself');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.getByRole('link', { name: 'Harbour mug' }).and(page.locator(':focus')).waitFor();
  await page.keyboard.press('Tab');
  await page.getByRole('button', { name: 'Add to cart Harbour mug' }).and(page.locator(':focus')).waitFor();
  await page.keyboard.press('Enter');
  await page.getByText('1 × Harbour mug added to your cart.').waitFor();
  await page.context().close();
});
