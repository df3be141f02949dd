// Takes pictures of all pages, for a person to look at.

import { join } from 'node:path';
import { DESK, PHONE, open, shops } from './support.js';
import { tour } from './tour.js';

const folder = process.env.SCREENSHOTS;
const browser = await open();
for (const [width, viewport] of Object.entries({ desk: DESK, phone: PHONE })) {
  for (const colorScheme of ['light', 'dark']) {
    await tour(browser, shops.memory, { viewport, colorScheme }, async (page, name) => {
      const kind = `${name}-${width}-${colorScheme}`;
      await page.screenshot({ path: join(folder, `${kind}.png`), fullPage: true });
      // What stands in the README: down to the end of the first row.
      const clip = { x: 0, y: 0, width: DESK.width, height: 880 };
      if (kind === 'signed-in-desk-light') await page.screenshot({ path: join(folder, 'storefront.png'), fullPage: true, clip });
    });
  }
}
await tour(browser, shops.cookie, { viewport: PHONE }, async (page, name) => {
  if (name !== 'devices') return;
  await page.screenshot({ path: join(folder, 'devices-phone-cookie-store.png'), fullPage: true });
});
await browser.close();
