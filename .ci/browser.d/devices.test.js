// A person with two browsers, and what is left on the screen of one that is signed out.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addToCart, launch, session, shops, signIn, signOut, visit } from './support.js';

const browser = await launch();

// The cookie store keeps no list.
for (const store of ['memory', 'file']) {
  test(`a browser is signed out from another: ${store}`, async () => {
    const phone = await visit(browser, shops[store]);
    await signIn(phone, `Ada on ${store}`);
    const laptop = await visit(browser, shops[store]);
    await signIn(laptop, `Ada on ${store}`);
    await laptop.getByRole('link', { name: 'Devices' }).click();
    assert.equal(await laptop.getByText('This device').count(), 1);
    await laptop.getByRole('button', { name: /^Sign out session/ }).click();
    await laptop.getByText('That device is signed out.').waitFor();
    assert.equal(await laptop.getByRole('listitem').filter({ hasText: 'Signed in' }).count(), 1);

    await phone.getByRole('link', { name: 'Devices' }).click();
    await phone.getByText('Sign in to see where else you are signed in.').waitFor();
    assert.equal(await phone.getByText(/\bAda\b/).count(), 0);
    assert.equal((await session(phone)).owner, null);
    assert.equal((await session(laptop)).owner, `Ada on ${store}`);

    await signIn(phone, `Ada on ${store}`);
    await phone.getByRole('link', { name: 'Devices' }).click();
    await phone.getByRole('button', { name: 'Sign out everywhere else' }).click();
    await phone.getByText('One other device is signed out.').waitFor();
    await laptop.reload();
    await laptop.getByText('Sign in to see where else you are signed in.').waitFor();
    await Promise.all([phone, laptop].map((page) => page.context().close()));
  });

  test(`a form on a page that is older than the sign-out changes nothing: ${store}`, async () => {
    const page = await visit(browser, shops[store]);
    await signIn(page, `Eve on ${store}`);
    const other = await page.context().newPage();
    await other.goto(page.url());
    await signOut(other);
    await signIn(other, `Ada on ${store}`);
    await page.getByRole('button', { name: 'Add to cart Porch lamp' }).click();
    await page.getByRole('heading', { name: 'That page was too old' }).waitFor();
    assert.equal((await session(other)).values.cart, undefined);
    await page.context().close();
  });
}

for (const [store, shop] of Object.entries(shops)) {
  test(`the back button shows nothing private after a sign-out: ${store}`, async () => {
    const page = await visit(browser, shop);
    await addToCart(page, 'Cedar candle');
    await signIn(page, 'Grace Hopper');
    await page.getByRole('link', { name: 'Cart' }).click();
    await page.getByRole('heading', { name: 'Your cart', exact: true }).waitFor();
    await page.getByRole('link', { name: 'Devices' }).click();
    await page.getByRole('heading', { name: 'Devices' }).waitFor();
    await signOut(page);
    const seen = [];
    for (let step = 0; step < 4; step += 1) {
      // A page that was kept alive is never loaded again; the foot says that the page is whole.
      await page.goBack({ waitUntil: 'commit' });
      await page.getByRole('contentinfo').waitFor();
      seen.push(new URL(page.url()).pathname);
      const text = await page.locator('body').innerText();
      assert.ok(!/Grace|Hopper|candle.*removed|Sign out\b/.test(text), `${page.url()} shows ${text}`);
      if (page.url().endsWith('/cart')) await page.getByRole('heading', { name: 'Your cart is empty' }).waitFor();
    }
    assert.deepEqual(seen.slice(0, 2), ['/devices', '/cart'], 'the pages of before');
    await page.context().close();
  });
}

test('the back button finds nothing private without the server either', async () => {
  const page = await visit(browser, shops.memory);
  await signIn(page, 'Grace Hopper');
  await page.goto(`${shops.memory}/cart`);
  await signOut(page);
  await page.context().setOffline(true);
  await page.goBack({ waitUntil: 'commit' }).catch((error) => assert.match(error.message, /ERR_INTERNET_DISCONNECTED/));
  assert.ok(!(await page.locator('body').innerText()).includes('Grace'));
  await page.context().close();
});
