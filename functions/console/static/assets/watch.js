/* Looking again and again, sooner while things happen and later while they do not; never in a hidden tab. */

const SOONEST = 200; // milliseconds
const GROWTH = 1.5;

export class Watch {
  #look;
  #patience;
  #delay = SOONEST;
  #timer = null;
  #looking = false;
  #again = false;

  /**
   * `look` is awaited, and says whether it saw something new. `patience()` is the longest pause, in milliseconds.
   */
  constructor(look, patience) {
    this.#look = look;
    this.#patience = patience;
    document.addEventListener("visibilitychange", () => this.wake());
  }

  /** Somebody did something: looks at once, and soon again. */
  wake() {
    this.#delay = SOONEST;
    if (this.#looking) this.#again = true;
    else this.#next(0);
  }

  #next(delay) {
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.#run(), delay);
  }

  async #run() {
    this.#looking = true;
    const sawSomething = await this.#look();
    this.#looking = false;
    if (this.#again || sawSomething) this.#delay = SOONEST;
    else this.#delay = Math.min(this.#delay * GROWTH, this.#patience());
    this.#next(this.#again ? 0 : this.#delay);
    this.#again = false;
  }
}
