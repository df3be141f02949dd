// Every kind of page, as a person who is signed in on two browsers sees them.

import { addToCart, signIn, visit } from './support.js';

// Each person comes once: on the page of their devices are these two.
const people = ['Ada Lovelace', 'Grace Hopper', 'Radia Perlman', 'Barbara Liskov', 'Frances Allen', 'Karen Jones'];

/** Calls `look(page, name)` at each. */
export async function tour(browser, shop, more, look) {
  const name = people.shift();
  const phone = await visit(browser, shop);
  await signIn(phone, name);
  await phone.context().close();
  const page = await visit(browser, shop, more);
  const at = async (path, name) => (await page.goto(`${shop}${path}`), look(page, name));
  await look(page, 'shop');
  await at('/product/teapot', 'product');
  await at('/cart', 'cart-empty');
  await at('/devices', 'devices-visitor');
  await at('/sign-in', 'sign-in');
  await page.goto(`${shop}/`);
  await addToCart(page, 'Harbour mug');
  await addToCart(page, 'Porch lamp');
  await look(page, 'notice');
  await signIn(page, name);
  await look(page, 'signed-in');
  await page.getByRole('link', { name: 'Harbour mug' }).click();
  await page.getByLabel('Shipping to').selectOption('United States');
  await page.getByRole('button', { name: 'Change' }).click();
  await page.getByRole('status').filter({ hasText: 'United States' }).waitFor();
  await at('/cart', 'cart');
  await at('/devices', 'devices');
  await at('/sign-in', 'sign-in-again');
  await at('/nothing', 'error');
  await page.context().close();
}
