// A person shops, with scripts and without.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { before, addToCart, launch, profile, session, shops, signIn, signOut, visit } from './support.js';

const browser = await launch();

for (const store of ['memory', 'cookie']) {
  const shop = shops[store];
  for (const javaScriptEnabled of [true, false]) {
    test(`shop, choose a country, sign in and out: ${store}, ${javaScriptEnabled ? 'with' : 'without'} scripts`, async () => {
      const page = await visit(browser, shop, { javaScriptEnabled });
      assert.deepEqual(await page.context().cookies(), [], 'who only looks around has no cookie');

      await addToCart(page, 'Harbour mug');
      await page.getByRole('link', { name: 'Supper bowl' }).click();
      await page.getByLabel('Quantity').fill('3');
      await page.getByRole('button', { name: 'Add to cart' }).click();
      await page.getByText('3 × Supper bowl added to your cart.').waitFor();
      await page.getByLabel('Shipping to').selectOption('Japan');
      await page.getByRole('button', { name: 'Change' }).click();
      await page.getByText('Prices and shipping are now for Japan.').waitFor();
      assert.equal(new URL(page.url()).pathname, '/product/bowl', 'back where the form was');

      await signIn(page, 'Ada');
      await page.getByRole('link', { name: 'Cart' }).click();
      await page.getByLabel('Quantity of Supper bowl').fill('2');
      await page.getByRole('button', { name: 'Update Supper bowl' }).click();
      await page.getByText('Supper bowl: now 2 in your cart.').waitFor();
      await page.getByRole('button', { name: 'Remove Harbour mug' }).click();
      await page.getByText('Harbour mug removed from your cart.').waitFor();
      const { owner, values } = await session(page);
      assert.deepEqual({ owner, ...values }, { owner: 'Ada', cart: { bowl: 2 }, countryCode: 'JP' });

      await signOut(page);
      assert.equal((await session(page)).owner, null);
      await page.getByRole('link', { name: 'Cart' }).click();
      await page.getByRole('heading', { name: 'Your cart is empty' }).waitFor();
      assert.deepEqual(await page.context().cookies(), [], 'nothing is left to remember');
      await page.context().close();
    });
  }

  test(`a notice is shown exactly once: ${store}`, async () => {
    const page = await visit(browser, shop);
    await addToCart(page, 'Porch lamp');
    const notice = page.getByRole('status');
    assert.equal(await notice.count(), 1);
    await page.reload();
    assert.equal(await notice.count(), 0, 'after a reload');
    await page.getByRole('link', { name: 'Cart' }).click();
    await page.getByRole('heading', { name: 'Your cart', exact: true }).waitFor();
    assert.equal(await notice.count(), 0, 'on the next page');
    await page.context().close();
  });
}

test('a session outlives the browser', async () => {
  const open = await profile();
  for (const isFirst of [true, false]) {
    const context = await open();
    const page = await context.newPage();
    await page.goto(`${shops.memory}/`);
    if (isFirst) await signIn(page, 'Ada');
    assert.equal((await session(page)).owner, 'Ada');
    await context.close();
  }
});

// With the cookie store the client holds the state, and the last cookie wins.
for (const store of ['memory', 'file']) {
  test(`two tabs add to the cart at the same moment, and both land: ${store}`, async () => {
    let waiting = [];
    // Nobody's form goes on before the other's is there and both sessions are loaded.
    const ready = () =>
      new Promise((go) => {
        waiting.push(go);
        if (waiting.length < 2) return;
        for (const each of waiting) each();
        waiting = [];
      });
    const shop = `http://localhost:${await before(shops[store], { ready: () => (together ? ready() : undefined) })}`;
    let together = false;
    const left = await visit(browser, shop);
    await addToCart(left, 'Harbour mug');
    const right = await left.context().newPage();
    await right.goto(`${shop}/`);

    together = true;
    const rounds = 12;
    for (let round = 1; round <= rounds; round += 1) {
      const other = round % 2 === 0 ? 'Harbour mug' : 'Market tote';
      // Not `addToCart`: there is one notice for both tabs.
      await Promise.all(
        [[left, 'Harbour mug'], [right, other]].map(([tab, product]) =>
          Promise.all([
            tab.waitForResponse((response) => response.request().method() === 'GET' && response.url() === `${shop}/`),
            tab.getByRole('button', { name: `Add to cart ${product}` }).click(),
          ]),
        ),
      );
    }
    const { mug, tote } = (await session(left)).values.cart;
    assert.deepEqual({ mug, tote }, { mug: 1 + rounds + rounds / 2, tote: rounds / 2 });
    await left.context().close();
  });
}
