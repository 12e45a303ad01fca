/** Work that waits until what it is for comes near to what is seen. */

/** @type {WeakMap<Element, () => void>} */
const waiting = new WeakMap();

const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) {
        observer.unobserve(target);
        waiting.get(target)?.();
        waiting.delete(target);
      }
    }
  },
  { rootMargin: "50%" },
);

/**
 * Do something once an element is near to what is seen; never where it does not come to the page.
 *
 * @param {Element} element
 * @param {() => void} work
 */
export function whenNear(element, work) {
  waiting.set(element, work);
  observer.observe(element);
}
